//! Statements that change data, with the user's grant and without.

use std::sync::Arc;

use hub_plugin_api::{
    Connection, ErrorKind, Result, Statement,
    arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray},
};

use crate::support::{Read, Schema, drain, numbers, run};

async fn query(connection: &dyn Connection, text: &str, values: Option<RecordBatch>) -> Result<Read> {
    let mut reader = connection.query(&Statement::Text(text.into()), values).await?;
    drain(&mut *reader).await
}

#[test]
fn statement_that_changes_data_is_refused_without_the_grant() {
    run(async {
        let schema = Schema::new("ungranted").await;
        let name = &schema.name;
        schema
            .run(&format!("create table t (id int); create function add(n int) returns int language sql as 'insert into {name}.t values (n) returning id'"))
            .await;
        // Who may write by default may not here.
        let connection = schema.server.connection().await;
        for (statement, kind) in [
            (format!("insert into {name}.t values (1)"), ErrorKind::PermissionDenied),
            (format!("drop table {name}.t"), ErrorKind::PermissionDenied),
            (format!("insert into {name}.t values (1) returning id"), ErrorKind::InvalidStatement),
            (format!("select {name}.add(1)"), ErrorKind::InvalidStatement),
        ] {
            let error = query(&*connection, &statement, None).await.unwrap_err();
            assert_eq!(error.kind, kind, "{statement}: {error}");
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains("`grants`") && hint.contains("`write`"), "{statement}: {hint}");
        }
        assert_eq!(
            schema.server.text(&format!("select count(*)::text from {name}.t")).await.as_deref(),
            Some("0")
        );
    });
}

#[test]
fn statement_that_changes_data_is_durable_with_the_grant() {
    run(async {
        let schema = Schema::new("granted").await;
        let name = &schema.name;
        schema.run("create table t (id int primary key, v text)").await;
        let connection = schema.server.writing_connection().await;
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["it's"]));
        let values = RecordBatch::try_from_iter([("1", ids), ("2", texts)]).unwrap();
        let added = query(&*connection, &format!("insert into {name}.t values ($1, $2)"), Some(values)).await;
        assert_eq!(numbers(&[added.unwrap()], "changed"), [1]);
        let more =
            format!("insert into {name}.t select g, 'more' from generate_series(10, 12) g returning id");
        assert_eq!(numbers(&[query(&*connection, &more, None).await.unwrap()], "id"), [10, 11, 12]);
        let seen =
            schema.server.text(&format!("select string_agg(id || v, ' ' order by id) from {name}.t")).await;
        assert_eq!(seen.as_deref(), Some("7it's 10more 11more 12more"));
        // What the server refuses leaves nothing behind.
        let twice = format!("insert into {name}.t values (20, ''), (7, '')");
        let error = query(&*connection, &twice, None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ConstraintViolated, "{error}");
        let least: ArrayRef = Arc::new(Int32Array::from(vec![11]));
        let least = RecordBatch::try_from_iter([("1", least)]).unwrap();
        let read = query(&*connection, &format!("select id from {name}.t where id > $1"), Some(least)).await;
        assert_eq!(numbers(&[read.unwrap()], "id"), [12]);
    });
}
