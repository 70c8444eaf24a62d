use hub_plugin_api::{CheckReporter, CheckRequest, CheckStatus, CheckStep, Config, ErrorKind};

use crate::harness::{File, connect, options};

async fn steps(file: &File, strategy: &str, options: Config) -> Vec<CheckStep> {
    let (reporter, steps) = CheckReporter::collecting();
    let request = CheckRequest { strategy: strategy.into(), options };
    file.connect().await.check(&request, &reporter).await.unwrap();
    std::mem::take(&mut *steps.lock().unwrap())
}

fn shape(steps: &[CheckStep]) -> Vec<(&str, CheckStatus)> {
    steps.iter().map(|step| (step.step.as_str(), step.status)).collect()
}

#[tokio::test]
async fn good_file_passes_every_step_and_is_left_as_it_was() {
    use CheckStatus::Passed;
    let file = File::new("create table t (a)");
    let read = steps(&file, "query", options(&[("table", "t".into())])).await;
    assert_eq!(shape(&read), [("access", Passed), ("permissions", Passed)]);
    let written = steps(&file, "write", Config::new()).await;
    assert_eq!(shape(&written), [("access", Passed), ("permissions", Passed), ("write-probe", Passed)]);
    assert_eq!(file.value::<i64>("select count(*) from sqlite_schema"), 1);
}

#[tokio::test]
async fn file_that_is_no_database_fails_at_access_and_skips_the_rest() {
    let file = File::new("");
    std::fs::write(&file.path, "not a database at all, whatever its name says".repeat(30)).unwrap();
    let steps = steps(&file, "write", Config::new()).await;
    assert_eq!(
        shape(&steps),
        [
            ("access", CheckStatus::Failed),
            ("permissions", CheckStatus::Skipped),
            ("write-probe", CheckStatus::Skipped)
        ]
    );
    assert_eq!(steps[0].field.as_deref(), Some("file"));
    assert!(steps[0].hint.as_deref().unwrap().contains("encrypted"));
}

#[tokio::test]
async fn destination_that_is_not_there_yet_passes_and_is_not_made() {
    let file = File::new("");
    assert!(steps(&file, "write", Config::new()).await.iter().all(|step| step.status == CheckStatus::Passed));
    assert!(!file.path.exists());
    let steps = steps(&file, "query", Config::new()).await;
    assert_eq!((steps[0].status, steps[0].field.as_deref()), (CheckStatus::Failed, Some("file")));
}

#[tokio::test]
async fn statement_that_does_not_compile_fails_at_its_field() {
    let file = File::new("create table t (a)");
    for statement in
        ["select b from t", "delete from t", "select 1; select 2", "select 1 as a, 2 as a", "commit"]
    {
        let steps = steps(&file, "query", options(&[("statement", statement.into())])).await;
        assert_eq!(
            (steps[1].status, steps[1].field.as_deref()),
            (CheckStatus::Failed, Some("statement")),
            "{statement}"
        );
    }
}

#[tokio::test]
async fn cursor_that_the_statement_does_not_return_fails_at_its_field() {
    let file = File::new("create table t (a)");
    let cursor = |name: &str| options(&[("table", "t".into()), ("cursor", vec![name].into())]);
    let good = steps(&file, "query", cursor("a")).await;
    assert_eq!(
        (good[1].status, good[1].message.as_str()),
        (CheckStatus::Passed, "The statement returns 1 column")
    );
    assert_eq!(good[0].message, format!("`{}` is a database with 1 table or view", file.path.display()));
    let steps = steps(&file, "query", cursor("b")).await;
    assert_eq!((steps[1].status, steps[1].field.as_deref()), (CheckStatus::Failed, Some("cursor")));
}

#[tokio::test]
async fn hubs_own_store_is_refused() {
    let file = File::new("create table t (a)");
    let error = connect(&file.path, vec![file.path.clone()]).await.err().unwrap();
    assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::InvalidConfig, Some("file")));
    assert!(connect(&file.path, vec![file.path.with_extension("other")]).await.is_ok());
}
