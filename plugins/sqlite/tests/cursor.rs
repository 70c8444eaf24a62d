use hub_plugin_api::{
    ErrorKind, Snapshot, Writer,
    arrow::{array::AsArray, datatypes::Int64Type},
    json,
};

use crate::harness::{File, batches, drain, open, options, plan_request, read_all, token, write};

const PAIRS: &str = "create table t (a integer not null, b text not null, c text, primary key (a, b)); \
    insert into t with recursive n(i) as (select 0 union all select i + 1 from n where i < 99) \
    select i / 3, 'k' || (i % 3), 'v' || i from n";

#[tokio::test]
async fn resumes_behind_each_boundary_without_loss_or_repeat() {
    let file = File::new(PAIRS);
    let plan = file.plan(options(&[("table", json!("t")), ("cursor", json!(["a", "b"]))])).await;
    let split = plan.description().splits[0].clone();
    let (all, positions) = batches(&drain(&mut *open(&*plan, &split, None, 7).await).await.unwrap());
    assert_eq!((all.len(), positions.len()), (15, 15));
    for (index, position) in positions.iter().enumerate() {
        let mut reader = open(&*plan, &split, Some(position.clone()), 7).await;
        let (rest, _) = batches(&drain(&mut *reader).await.unwrap());
        assert_eq!(rest, all[index + 1..], "behind {}", position.as_value());
    }
}

#[tokio::test]
async fn next_run_moves_only_what_came_since() {
    let file = File::new(PAIRS);
    let connection = file.connect().await;
    let mut request = plan_request(options(&[("table", json!("t")), ("cursor", json!(["a", "b"]))]));
    let first = connection.plan(&request).await.unwrap();
    file.sql().execute("insert into t values (100, 'late', null)", []).unwrap();
    let rows: usize = read_all(&*first).await.unwrap().iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 100, "the bound was fixed when the run was planned");

    (request.run, request.carry) = (2, first.description().carry);
    let second = connection.plan(&request).await.unwrap();
    let rows = read_all(&*second).await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[100]);

    (request.run, request.carry) = (3, second.description().carry);
    assert_eq!(connection.plan(&request).await.unwrap().description().splits, []);
}

#[tokio::test]
async fn rows_written_are_the_rows_read() {
    let source = File::new(PAIRS);
    let plan = source.plan(options(&[("table", json!("t")), ("cursor", json!(["a", "b"]))])).await;
    let target = File::new("");
    let mut writer: Box<dyn Writer> = target.writer(options(&[("mode", json!("append"))])).await;
    for batch in read_all(&*plan).await.unwrap() {
        write(&mut *writer, &batch).await.unwrap();
    }
    writer.commit(&token(1)).await.unwrap();
    drop(writer);
    let sum = "select group_concat(a || b || c, ',') from t";
    assert_eq!(target.value::<String>(sum), source.value::<String>(sum));
    let stored: String = target.value("select token from __hub_commits where pipeline = 'p'");
    assert_eq!(serde_json::from_str::<hub_plugin_api::CommitToken>(&stored).unwrap(), token(1));
}

#[tokio::test]
async fn interrupted_run_goes_on_with_its_own_splits() {
    let file = File::new(PAIRS);
    let connection = file.connect().await;
    let mut request =
        plan_request(options(&[("table", json!("t")), ("cursor", json!(["a", "b"])), ("splits", json!(3))]));
    let first = connection.plan(&request).await.unwrap().description();
    assert_eq!(first.splits.len(), 3);
    request.interrupted = Some(first.clone());
    let again = connection.plan(&request).await.unwrap().description();
    assert_eq!((again.splits.clone(), again.snapshot), (first.splits, Snapshot::Same));

    std::thread::sleep(std::time::Duration::from_millis(20));
    file.sql().execute("delete from t where a = 5", []).unwrap();
    let changed = connection.plan(&request).await.unwrap().description();
    assert_eq!((changed.splits, changed.snapshot), (again.splits, Snapshot::New));

    request.options.set("statement", "select * from t where a > 1");
    request.options.set("table", "");
    let error = connection.plan(&request).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::PositionLost);
}
