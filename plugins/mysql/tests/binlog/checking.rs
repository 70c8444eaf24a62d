use hub_plugin_api::{CheckReporter, CheckRequest, CheckStatus, CheckStep, Config, Context};

use super::own_server_id;
use crate::support::{ALL, Server, Which, context, run};

async fn check(server: &Server, context: &Context) -> Vec<CheckStep> {
    let connection = server.which.connector().connect(&server.config, context).await.unwrap();
    let (reporter, steps) = CheckReporter::collecting();
    let request = CheckRequest { strategy: "binlog".into(), options: Config::new() };
    connection.check(&request, &reporter).await.unwrap();
    steps.lock().unwrap().clone()
}

fn find<'a>(steps: &'a [CheckStep], text: &str) -> &'a CheckStep {
    let found = steps.iter().find(|step| step.message.contains(text));
    found.unwrap_or_else(|| panic!("no step says `{text}`: {steps:#?}"))
}

#[test]
fn server_that_is_set_up_passes() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "checked").await;
            own_server_id(&mut server);
            let steps = check(&server, &server.context()).await;
            assert!(steps.iter().all(|step| step.status != CheckStatus::Failed), "{steps:#?}");
            assert_eq!(find(&steps, "the account may follow it").status, CheckStatus::Passed);
            assert_eq!(find(&steps, "The log is kept").step, "headroom");
        });
    }
}

#[test]
fn missing_rights_come_with_their_grant() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "rights").await;
            own_server_id(&mut server);
            let user = format!("rights{}", std::process::id());
            server
                .run(&[
                    &format!("DROP USER IF EXISTS {user}"),
                    &format!("CREATE USER {user} IDENTIFIED BY 'pw'"),
                    &format!("GRANT SELECT ON {}.* TO {user}", server.database),
                ])
                .await;
            server.config.set("username", user.clone());
            let context = context("pw");
            let steps = check(&server, &context).await;
            let failed = steps.iter().find(|step| step.status == CheckStatus::Failed).expect("a step fails");
            assert!(failed.fix.as_ref().unwrap().contains("GRANT REPLICATION CLIENT"), "{failed:?}");
            let right = if which == Which::MySql { "REPLICATION CLIENT" } else { "BINLOG MONITOR" };
            server.run(&[&format!("GRANT {right} ON *.* TO {user}")]).await;
            let steps = check(&server, &context).await;
            let failed = steps.iter().find(|step| step.status == CheckStatus::Failed).expect("a step fails");
            assert!(failed.fix.as_ref().unwrap().contains("GRANT REPLICATION SLAVE"), "{failed:?}");
            server.run(&[&format!("GRANT REPLICATION SLAVE ON *.* TO {user}")]).await;
            let steps = check(&server, &context).await;
            assert!(steps.iter().all(|step| step.status != CheckStatus::Failed), "{steps:#?}");
            if which == Which::MySql {
                assert!(
                    find(&steps, "Without the right RELOAD").fix.as_ref().unwrap().contains("GRANT RELOAD")
                );
            }
        });
    }
}

#[test]
fn number_of_the_server_itself_is_refused() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "number").await;
            let own = server.rows("SELECT @@server_id").await[0][0].parse::<i64>().unwrap();
            server.config.set("server_id", own);
            let steps = check(&server, &server.context()).await;
            let step = find(&steps, "that of the server itself");
            assert_eq!((step.status, step.field.as_deref()), (CheckStatus::Failed, Some("server_id")));
        });
    }
}
