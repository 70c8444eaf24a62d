//! Statements of the user's own.

use std::sync::Arc;

use hub_plugin_api::{
    Config, ErrorKind, Value,
    arrow::array::{Int32Array, ListArray, StringArray},
    arrow::datatypes::Int32Type,
    json,
    types::{Column, LogicalType},
};

use super::server::{Server, Stream, line, token};

fn stream() -> Stream {
    let columns = [
        Column::new("id", LogicalType::Int32).not_null().key(0),
        Column::new("the name", LogicalType::Text),
        Column::new("tags", LogicalType::List(Box::new(LogicalType::Int32))),
    ];
    Stream::new("t", &columns)
}

fn options(statements: Value) -> Config {
    Config::new().with("statements", statements)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_row_runs_its_statements_in_order() {
    let server = Server::new().await;
    server.run("create table a (n bigserial, id int8, name inet, tags int[]); create table b (id numeric(5,2) check (id <> 13), doc jsonb)").await;
    let statements = json!([
        { "on": "insert", "statement": format!("insert into {}.a (id, name, tags) values ({{{{id}}}}, {{{{the name}}}}::text::inet, {{{{tags}}}}) -- one", server.schema) },
        { "on": "insert", "statement": format!("insert into {}.b select {{{{id}}}}, jsonb_build_object('it''s', {{{{the name}}}}::text);", server.schema) },
    ]);
    let stream = stream();
    let mut writer = server.writer(options(statements)).await;
    assert!(!writer.start().idempotent);
    writer.schema(&stream.announce()).await.unwrap();
    let ids: Vec<i32> = (0..300).collect();
    let names = ids
        .iter()
        .map(|id| if *id == 200 { "no address".to_owned() } else { format!("10.0.0.{}", id % 256) });
    let tags = ids.iter().map(|id| Some(vec![Some(*id), None]));
    let rows = stream.rows(vec![
        Arc::new(Int32Array::from(ids.clone())),
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(tags)),
    ]);
    let field = hub_plugin_api::arrow::datatypes::DataType::List(Arc::new(
        Column::new("item", LogicalType::Int32).to_field(),
    ));
    assert_eq!(rows.batch.schema().field(2).data_type(), &field);
    writer.write(rows).await.unwrap();
    let report = writer.flush().await.unwrap();
    let found: Vec<_> = report.rejected.iter().map(|one| (one.row, one.kind)).collect();
    assert_eq!(found, [(13, ErrorKind::ConstraintViolated), (200, ErrorKind::InvalidData)]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select count(*), (array_agg(id order by n))[1:3] from a").await, ["298|{0,1,2}"]);
    assert_eq!(server.rows("select name, tags from a where id = 299").await, ["10.0.0.43|{299,NULL}"]);
    assert_eq!(server.rows("select id, doc from b where id = 1").await, [r#"1.00|{"it's": "10.0.0.1"}"#]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn statements_that_cannot_work_are_refused_before_the_first_row() {
    let server = Server::new().await;
    server.run("create table a (id int8, name uuid)").await;
    let mut lines = Vec::new();
    for (on, statement) in [
        ("insert", "insert into S.a values ({{nothing}})"),
        ("insert", "insert into {{id}} values (1)"),
        ("insert", "insert into S.missing values ({{id}})"),
        ("insert", "insert into S.a (name) values ({{tags}})"),
        ("insert", "insert into S.a values ('{{id}}')"),
        ("insert", "insert into S.a values ({{__before.id}})"),
        ("upsert", "insert into S.a values ({{id}})"),
        ("insert", "rollback"),
    ] {
        let statement = statement.replace("S.", &format!("{}.", server.schema));
        let error = match server.try_writer(options(json!([{ "on": on, "statement": statement }]))).await {
            Ok(mut writer) => writer.schema(&stream().announce()).await.unwrap_err(),
            Err(error) => error,
        };
        lines.push(line(&error).replace(&server.schema, "S"));
    }
    insta::with_settings!({ filters => vec![(r"character `?\d+`?", "character N")] }, {
        insta::assert_snapshot!(lines.join("\n"));
    });
    server.done().await;
}
