//! Reading what is new: cursors, positions, splits.

use hub_plugin_api::{ErrorKind, Position, Snapshot, StartAt, Value, json};

use crate::support::{Schema, drain, numbers, open_request, plan_request, read_run, run};

async fn numbered(purpose: &str, rows: i64) -> Schema {
    let schema = Schema::new(purpose).await;
    schema
        .run(&format!(
            "create table t (id bigint primary key, v text); \
             insert into t select i, 'v' || i from generate_series(1, {rows}) i"
        ))
        .await;
    schema
}

fn statement(schema: &Schema) -> String {
    format!("select * from {}.t -- everything", schema.name)
}

#[test]
fn second_run_reads_only_what_is_new() {
    run(async {
        let schema = numbered("second_run", 5).await;
        let connection = schema.server.connection().await;
        let mut request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
        let (reads, carry) = read_run(&*connection, &request).await.unwrap();
        assert_eq!(numbers(&reads, "id"), [1, 2, 3, 4, 5]);
        (request.carry, request.run) = (carry, 2);
        let plan = connection.plan(&request).await.unwrap().description();
        assert_eq!((plan.splits.len(), &plan.carry, plan.repeats_rows), (0, &request.carry, false));
        schema.run("insert into t values (7), (9)").await;
        let (reads, carry) = read_run(&*connection, &request).await.unwrap();
        assert_eq!(numbers(&reads, "id"), [7, 9]);
        assert_eq!(carry.unwrap()["after"], json!(["9"]));
    });
}

#[test]
fn resumes_exactly_behind_every_boundary_with_the_bounds_of_the_interrupted_run() {
    run(async {
        let schema = numbered("resume", 100).await;
        let connection = schema.server.connection().await;
        let mut request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
        let plan = connection.plan(&request).await.unwrap();
        let description = plan.description();
        assert_eq!(description.snapshot, Snapshot::Same);
        let mut open = open_request(&description.splits[0], None);
        open.budgets.max_batch_rows = 7;
        let read = drain(&mut *plan.open(&open).await.unwrap()).await.unwrap();
        assert_eq!(read.boundaries.len(), 16);
        drop(plan);
        // Rows that come later belong to the next run.
        schema.run("insert into t select i, 'late' from generate_series(101, 120) i").await;
        request.interrupted = Some(description);
        for boundary in &read.boundaries {
            let plan = connection.plan(&request).await.unwrap();
            let again = plan.description();
            assert_eq!(again.snapshot, Snapshot::New);
            let position = boundary.position.clone();
            let behind: i64 =
                position.as_ref().unwrap().as_value()["after"][0].as_str().unwrap().parse().unwrap();
            let mut reader = plan.open(&open_request(&again.splits[0], position)).await.unwrap();
            let rest = drain(&mut *reader).await.unwrap();
            assert!(numbers(&[rest], "id").into_iter().eq(behind + 1..=100));
        }
    });
}

#[test]
fn positions_hold_what_the_server_prints_and_come_back_for_every_type() {
    run(async {
        let schema = Schema::new("position_types").await;
        let connection = schema.server.connection().await;
        for (of, first, second) in [
            ("int2", "-5", "7"),
            ("int4", "-5", "7"),
            ("oid", "5", "4000000000"),
            ("numeric", "-1.50", "12345678901234567890.0010"),
            ("numeric(40,3)", "-1.500", "12345678901234567890.001"),
            ("float8", "-1e-10", "1.7976931348623157e+308"),
            ("float4", "1.5", "Infinity"),
            ("text", "it's \\ \"x\"", "é😀"),
            ("varchar(20)", "", "b"),
            ("char(5)", "a", "b"),
            ("bytea", "\\x00", "\\xff"),
            ("date", "0044-03-15 BC", "infinity"),
            ("time", "00:00:00.000001", "23:59:59"),
            ("timestamp", "0044-03-15 01:02:03 BC", "2020-02-29 23:59:59.999999"),
            ("timestamptz", "-infinity", "2020-02-29 23:59:59.5+00"),
            ("uuid", "00000000-0000-0000-0000-000000000001", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ("bool", "false", "true"),
            ("inet", "10.0.0.1", "10.0.0.0/8"),
            ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:04"),
        ] {
            let (first, second) = (first.replace('\'', "''"), second.replace('\'', "''"));
            schema
                .run(&format!("drop table if exists t; create table t (id {of} primary key); \
                               set standard_conforming_strings = on; insert into t values ('{first}'), ('{second}')"))
                .await;
            let request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
            let plan = connection.plan(&request).await.unwrap();
            let split = &plan.description().splits.remove(0);
            let mut open = open_request(split, None);
            open.budgets.max_batch_rows = 1;
            let read = drain(&mut *plan.open(&open).await.unwrap()).await.unwrap();
            assert_eq!(read.batches.len(), 2, "{of}");
            let position = read.boundaries[0].position.clone().unwrap();
            let query = format!(
                "select textin({}) from (select id from {}.t order by id limit 1) t",
                output(of),
                schema.name
            );
            let printed = schema.server.text(&query).await.unwrap().trim_end().to_owned();
            let stored = position.as_value()["after"][0].as_str().unwrap().trim_end().to_owned();
            if of != "bool" {
                assert_eq!(stored, printed, "{of}");
            }
            let rest =
                drain(&mut *plan.open(&open_request(split, Some(position))).await.unwrap()).await.unwrap();
            assert_eq!(rest.rows(), 1, "{of}");
            // The upper bound came from the server, the position from us: both are the last row. Blanks at the end of
            // a `char` mean nothing.
            let last = |index: usize| {
                let position = read.boundaries[index].position.clone().unwrap();
                position.as_value()["after"][0].as_str().unwrap().trim_end().to_owned()
            };
            assert_eq!((last(1), read.boundaries.len()), (last(2), 3), "{of}");
        }
    });
}

/// The type's own output function, in the settings of the connector's sessions.
fn output(of: &str) -> String {
    let of = of.split('(').next().unwrap();
    let name = match of {
        "int2" | "int4" | "oid" | "float8" | "float4" | "text" | "bytea" | "bool" | "inet" => {
            format!("{of}out")
        }
        "varchar" => "varcharout".into(),
        "char" => "bpcharout".into(),
        _ => format!("{of}_out"),
    };
    let name = if of == "inet" { "inet_out".into() } else { name };
    let value = if of == "timestamptz" { "id at time zone 'UTC' at time zone 'UTC'" } else { "id" };
    format!("{name}({value})")
}

#[test]
fn ties_and_missing_values_are_refused_unless_they_are_read_again() {
    run(async {
        let schema = Schema::new("ties").await;
        schema
            .run("create table t (id int, v int); insert into t values (1, 1), (2, 2), (2, 3), (3, 4)")
            .await;
        let connection = schema.server.connection().await;
        let mut request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
        let error = read_run(&*connection, &request).await.unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::InvalidData, Some("cursor")));
        assert!(error.message.contains("Two rows"), "{error}");

        schema.run("insert into t values (null, 5)").await;
        let error = connection.plan(&request).await.err().unwrap();
        assert!(error.message.contains("no value in cursor `id`"), "{error}");

        request.options.set("cursor_ties", "reread");
        let (reads, carry) = read_run(&*connection, &request).await.unwrap();
        let mut values = numbers(&reads, "v");
        values.sort_unstable();
        assert_eq!(values, [1, 2, 3, 4, 5]);
        // A row that ties with the last one is not missed, and what is read again is said to be.
        schema.run("insert into t values (3, 6)").await;
        (request.carry, request.run) = (carry, 2);
        assert!(connection.plan(&request).await.unwrap().description().repeats_rows);
        let (reads, _) = read_run(&*connection, &request).await.unwrap();
        let mut values = numbers(&reads, "v");
        values.sort_unstable();
        assert_eq!(values, [4, 5, 6]);
    });
}

#[test]
fn numerics_that_differ_in_their_zeros_alone_are_ties() {
    run(async {
        let schema = Schema::new("numeric_ties").await;
        schema.run("create table t (id numeric not null); insert into t values (1.0), (1.00)").await;
        let connection = schema.server.connection().await;
        let request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
        let error = read_run(&*connection, &request).await.unwrap_err();
        assert!(error.message.contains("Two rows"), "{error}");
    });
}

#[test]
fn splits_hold_every_row_once_in_one_snapshot() {
    run(async {
        let schema = numbered("splits", 1000).await;
        schema.run("create table words (w text primary key); insert into words select md5(i::text) from generate_series(1, 2000) i; analyze words").await;
        let connection = schema.server.connection().await;
        for (options, count) in [
            (json!({ "statement": statement(&schema), "cursor": ["id"], "splits": 4 }), 1000),
            (json!({ "statement": statement(&schema), "splits": 3 }), 1000),
            (
                json!({ "statement": format!("select * from {}.words", schema.name), "cursor": ["w"], "splits": 4 }),
                2000,
            ),
        ] {
            let plan = connection.plan(&plan_request(options.clone())).await.unwrap();
            let description = plan.description();
            assert!(description.splits.len() > 2, "{options}");
            let ids: std::collections::HashSet<_> =
                description.splits.iter().map(|split| &split.id).collect();
            assert_eq!(ids.len(), description.splits.len());
            // What comes after the plan is in none of them.
            schema
                .run("insert into t select i, 'late' from generate_series(-5, 0) i on conflict do nothing")
                .await;
            let mut rows = 0;
            for split in &description.splits {
                let read = drain(&mut *plan.open(&open_request(split, None)).await.unwrap()).await.unwrap();
                assert!(
                    read.rows() > 0 && read.rows() < count / 2 + 1,
                    "{options} {} {}",
                    split.id,
                    read.rows()
                );
                rows += read.rows();
            }
            assert_eq!(rows, count, "{options}");
            schema.run("delete from t where id <= 0").await;
        }
    });
}

#[test]
fn keys_of_several_columns_are_compared_as_rows() {
    run(async {
        let schema = Schema::new("tuples").await;
        schema
            .run(
                "create table t (a int, \"b \"\" c\" text, n int, primary key (a, \"b \"\" c\")); \
                  insert into t select i / 3, 'x' || (i % 3), i from generate_series(0, 29) i",
            )
            .await;
        let connection = schema.server.connection().await;
        let request =
            plan_request(json!({ "statement": statement(&schema), "cursor": ["a", "b \" c"], "splits": 2 }));
        let plan = connection.plan(&request).await.unwrap();
        let mut found = Vec::new();
        for split in plan.description().splits {
            let mut open = open_request(&split, None);
            open.budgets.max_batch_rows = 4;
            let first = drain(&mut *plan.open(&open).await.unwrap()).await.unwrap();
            let middle = first.boundaries[0].position.clone();
            let rest = drain(&mut *plan.open(&open_request(&split, middle)).await.unwrap()).await.unwrap();
            found.extend(numbers(std::slice::from_ref(&first), "n").into_iter().take(4));
            found.extend(numbers(&[rest], "n"));
        }
        found.sort_unstable();
        assert!(found.into_iter().eq(0..30));
    });
}

#[test]
fn position_of_another_cursor_and_a_plan_that_is_gone_are_refused() {
    run(async {
        let schema = numbered("refused", 3).await;
        let connection = schema.server.connection().await;
        let mut request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
        let position: Value = json!({ "v": 1, "cursor": ["v"], "after": ["x"] });
        request.start_at = Some(StartAt::Position(Position::from(position.clone())));
        let error = connection.plan(&request).await.err().unwrap();
        assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::InvalidConfig, Some("cursor")));
        request.start_at =
            Some(StartAt::Position(Position::from(json!({ "v": 1, "cursor": ["id"], "after": ["1"] }))));
        let (reads, _) = read_run(&*connection, &request).await.unwrap();
        assert_eq!(numbers(&reads, "id"), [2, 3]);
        request.start_at = Some(StartAt::Latest);
        assert_eq!(connection.plan(&request).await.err().unwrap().kind, ErrorKind::Unsupported);
    });
}

#[test]
fn columns_that_change_behind_a_plan_are_noticed() {
    run(async {
        // A table is locked by its plan; what a function gives is not.
        let schema = Schema::new("changed").await;
        schema.run("create function f() returns table (id bigint) language sql as 'select 1::bigint'").await;
        let connection = schema.server.connection().await;
        let statement = format!("select * from {}.f()", schema.name);
        let plan = connection.plan(&plan_request(json!({ "statement": statement }))).await.unwrap();
        schema
            .run(
                "drop function f(); \
                 create function f() returns table (id int) language sql as 'select 1'",
            )
            .await;
        let split = plan.description().splits.remove(0);
        let error = plan.open(&open_request(&split, None)).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{error}");
    });
}

#[test]
fn empty_table_gives_its_columns_on_the_first_run() {
    run(async {
        let schema = numbered("empty", 0).await;
        let connection = schema.server.connection().await;
        let request = plan_request(json!({ "statement": statement(&schema), "cursor": ["id"] }));
        let (reads, carry) = read_run(&*connection, &request).await.unwrap();
        assert_eq!((reads.len(), reads[0].rows(), reads[0].arrow().fields().len()), (1, 0, 2));
        assert_eq!(carry, None);
    });
}
