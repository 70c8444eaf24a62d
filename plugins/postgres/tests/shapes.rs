//! What is known of a statement's columns: types, NOT NULL, keys.

use hub_plugin_api::{DiscoverRequest, ErrorKind, StreamId, json, types::columns_of};

use crate::support::{Schema, Server, read, read_statement, run};

#[test]
fn rows_of_one_table_keep_its_types_not_null_and_key_and_others_do_not() {
    run(async {
        let schema = Schema::new("shapes").await;
        schema
            .run(
                "create table t (b varchar(7) not null, a numeric(12,2) not null, c char(3), primary key (a, b)); \
                 create table other (a numeric(12,2) primary key); create table child () inherits (t); \
                 create table plain (id int primary key, v int); create view v as select * from plain",
            )
            .await;
        let connection = schema.server.connection().await;
        let described = async |statement: &str| {
            let statement = statement.replace('~', &format!("{}.", schema.name));
            let read = read_statement(&*connection, &statement).await.unwrap();
            let columns = columns_of(&read.arrow()).unwrap();
            let text = columns.iter().map(|column| {
                let key = column.key.map(|key| format!(" key {key}")).unwrap_or_default();
                let null = if column.nullable { "" } else { " not null" };
                format!("{} {}{null}{key}", column.name, column.declared.as_deref().unwrap_or_default())
            });
            let stream = read.schema.stream.to_string().replace(&format!("{}.", schema.name), "");
            format!("{stream}: {}", text.collect::<Vec<_>>().join(", "))
        };
        for (statement, expected) in [
            (
                "select * from ~plain where v > 0 order by v limit 5",
                "plain: id integer not null key 0, v integer",
            ),
            ("table ~plain", "plain: id integer not null key 0, v integer"),
            ("select v from ~plain", "plain: v integer"),
            ("select id as n from ~plain where exists (select 1)", "plain: n integer not null key 0"),
            ("select * from ~v", "query: id integer, v integer"),
            ("select p.id from ~other o left join ~plain p on p.id = o.a", "query: id integer"),
            ("select id from ~plain union all select id from ~plain", "query: id integer"),
            ("select id, count(*) as n from ~plain group by id", "query: id integer, n bigint"),
            ("select id, unnest(array[1,2]) as u from ~plain", "query: id integer, u integer"),
            ("select * from ~t", "t: b character varying(7), a numeric(12,2), c character(3)"),
            ("select * from ~other", "other: a numeric(12,2) not null key 0"),
        ] {
            let found = described(statement).await;
            // The planner looks through a view; its columns are the view's, which promises nothing.
            let found = found.replacen("v:", "query:", usize::from(statement.ends_with("~v")));
            assert_eq!(found, expected, "{statement}");
        }
    });
}

#[test]
fn statements_that_give_no_usable_columns_are_refused() {
    run(async {
        let connection = Server::get().connection().await;
        for (statement, kind, text) in [
            ("select 1 as a, 2 as a", ErrorKind::InvalidStatement, "two columns `a`"),
            ("select 1; select 2", ErrorKind::InvalidStatement, "more than one"),
            ("set application_name = 'x'", ErrorKind::InvalidStatement, "no columns"),
            ("selec 1", ErrorKind::InvalidStatement, "42601"),
            ("select * from nowhere_at_all", ErrorKind::NotFound, "42P01"),
            (
                "with x as (insert into nowhere_at_all values (1) returning 1) select 1",
                ErrorKind::NotFound,
                "42P01",
            ),
        ] {
            let error = read_statement(&*connection, statement).await.unwrap_err();
            assert_eq!((error.kind, error.field.as_deref()), (kind, Some("statement")), "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    });
}

#[test]
fn source_never_changes_its_database() {
    run(async {
        let schema = Schema::new("read_only").await;
        schema.run("create table t (id int)").await;
        let connection = schema.server.connection().await;
        let statement =
            format!("with x as (insert into {}.t values (1) returning id) select * from x", schema.name);
        let error = read_statement(&*connection, &statement).await.unwrap_err();
        assert_eq!(error.code.as_deref(), Some("25006"), "{error}");
        let count = schema.server.text(&format!("select count(*)::text from {}.t", schema.name)).await;
        assert_eq!(count.as_deref(), Some("0"));
    });
}

#[test]
fn statements_outside_a_copy_and_bound_values_are_read_too() {
    run(async {
        let connection = Server::get().connection().await;
        let shown = read_statement(&*connection, "show server_encoding").await.unwrap();
        assert_eq!(shown.rows(), 1);
        let options = json!({
            "statement": "select $1::int + 1 as a, $2 || '$1' as b, $3::int[] as c, $4::text as d",
            "parameters": [41, "it's; drop table x --\\", [1, null], null],
        });
        let read = read(&*connection, options).await.unwrap().remove(0);
        let lines = hub_plugin_api::testing::lines(&read.one(), &["a", "b", "c", "d"]);
        insta::assert_snapshot!(format!("{lines:?}"));
    });
}

#[test]
fn tables_are_listed_page_by_page_and_described() {
    run(async {
        let schema = Schema::new("discover").await;
        schema
            .run("create table b (id int primary key); create table \"a\"\"; drop\" (id int); create view c as select 1 as x; \
                  create table p (id int) partition by range (id); create table p1 partition of p for values from (0) to (9)")
            .await;
        let connection = schema.server.connection().await;
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let request = DiscoverRequest { filter: Some(schema.name.to_uppercase()), after, limit: 2 };
            let page = connection.discover(&request).await.unwrap();
            assert!(page.streams.len() <= 2);
            names.extend(page.streams.into_iter().map(|stream| stream.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["a\"; drop", "b", "c", "p"]);
        let streams: Vec<_> = names.iter().map(|name| StreamId::new([schema.name.clone()], name)).collect();
        let described = connection.describe(&streams).await.unwrap();
        let kinds: Vec<_> = described.iter().map(|stream| stream.kind.as_str()).collect();
        assert_eq!(kinds, ["table", "table", "view", "partitioned table"]);
        assert_eq!(described[1].columns[0].key, Some(0));
        let missing = connection.describe(&[StreamId::new([schema.name.clone()], "none")]).await.unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);
    });
}
