use hub_plugin_api::{ErrorKind, arrow::array::ArrayRef, changes::Changes, json, types::Column};

use super::{Followed, follow, own_server_id};
use crate::{
    support::{ALL, Server, Which, read_statement, run},
    types::{COMMON, widths},
};

async fn compare(server: &Server, statements: &[&str], tables: &[&str]) {
    let mut reader = follow(server, json!({})).await;
    server.run(statements).await;
    let inserted = statements.iter().filter(|statement| statement.starts_with("INSERT")).count();
    let mut followed = Followed::default();
    followed.more(&mut *reader, inserted).await.unwrap();
    let connection = server.connection().await;
    for table in tables {
        let read = read_statement(&*connection, &format!("select * from {table}")).await.unwrap();
        let of_table = followed.batches.iter().filter(|(stream, _)| stream.name == *table);
        let batches: Vec<_> = of_table.map(|(_, batch)| Changes::of(batch).unwrap().rows().clone()).collect();
        let log = hub_plugin_api::arrow::compute::concat_batches(batches[0].schema_ref(), &batches).unwrap();
        let query = read.one();
        assert_eq!(log.num_columns(), query.num_columns());
        for (place, field) in read.arrow().fields().iter().enumerate() {
            let (expected, found): (&ArrayRef, &ArrayRef) = (query.column(place), log.column(place));
            assert_eq!(found, expected, "{:?} {table}.{}", server.which, field.name());
            let by_log = Column::from_field(log.schema().field(place)).unwrap();
            let by_query = Column::from_field(field).unwrap();
            assert_eq!(by_log.logical, by_query.logical, "{:?} {table}.{}", server.which, field.name());
            assert_eq!(by_log.key, by_query.key, "{:?} {table}.{}", server.which, field.name());
        }
    }
}

#[test]
fn every_value_is_the_same_by_query_and_by_log() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "same").await;
            own_server_id(&mut server);
            compare(&server, COMMON, &["numbers", "texts", "times", "shapes"]).await;
            let statements = widths();
            compare(&server, &statements.iter().map(String::as_str).collect::<Vec<_>>(), &["widths"]).await;
        });
    }
}

#[test]
fn values_of_one_vendor_are_the_same_too() {
    run(async {
        let mut server = Server::new(Which::MySql, "sameown").await;
        own_server_id(&mut server);
        let statements = [
            "CREATE TABLE own (id int PRIMARY KEY, v vector(3), w point SRID 4326, j json)",
            "INSERT INTO own VALUES (1, STRING_TO_VECTOR('[1,-2.5,3e10]'), ST_SRID(POINT(10, 20), 4326), \
             JSON_OBJECT('a', 1, 'b', 2.5, 'c', '2020-01-02', 'd', CAST('2020-01-02' AS DATE), 'e', \
             CAST('2020-01-02 03:04:05.678' AS DATETIME(3)), 'f', CAST('-10:11:12.5' AS TIME(1)), 'g', \
             CAST(1.50 AS DECIMAL(5,2)), 'h', 1e300, 'i', -0.0, 'j', 1e-10, 'k', x'00ff', 'l', 18446744073709551615, \
             'm', JSON_ARRAY(true, false, null, '\\\"\\n'), 'n', 123456789012345678, 'o', 1e15, 'p', 0.1))",
        ];
        compare(&server, &statements, &["own"]).await;
    });
    for which in [Which::MariaDb, Which::NewMariaDb] {
        run(async {
            let mut server = Server::new(which, "sameown").await;
            own_server_id(&mut server);
            let statements = [
                "CREATE TABLE own (id int PRIMARY KEY, u uuid, a inet4, b inet6, j json)",
                "INSERT INTO own VALUES (1, '00112233-4455-6677-8899-aabbccddeeff', '10.0.0.1', '2001:db8::1', \
                 '{\"b\": 1.10}')",
                "INSERT INTO own VALUES (2, 'e7d29c1a-0000-1000-8000-000000000001', '255.0.0.0', '::ffff:1.2.3.4', NULL)",
                "INSERT INTO own VALUES (3, '018f4e2e-0000-7000-8000-000000000001', '0.0.0.0', '::', '[]')",
                "INSERT INTO own VALUES (4, NULL, NULL, NULL, NULL)",
            ];
            compare(&server, &statements, &["own"]).await;
            if which == Which::NewMariaDb {
                let vectors = [
                    "CREATE TABLE vectors (id int PRIMARY KEY, v vector(3), w vector(1) NOT NULL)",
                    "INSERT INTO vectors VALUES (1, VEC_FromText('[1,-2.5,3e10]'), VEC_FromText('[0]'))",
                    "INSERT INTO vectors VALUES (2, NULL, VEC_FromText('[-1e-38]'))",
                ];
                compare(&server, &vectors, &["vectors"]).await;
            }
        });
    }
}

#[test]
fn zero_dates_in_the_log_stop_the_stream_or_become_null() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "zerolog").await;
            own_server_id(&mut server);
            server
                .run(&["CREATE TABLE t (id int PRIMARY KEY, d date NOT NULL, t datetime(3), s timestamp NOT NULL)"])
                .await;
            let invalid =
                "INSERT INTO t VALUES (1, '0000-00-00', '2024-02-31 10:00:00', '0000-00-00 00:00:00')";
            let insert = ["SET sql_mode = 'ALLOW_INVALID_DATES'", "DELETE FROM t", invalid];
            let mut strict = follow(&server, json!({})).await;
            server.run(&insert).await;
            let error = Followed::default().more(&mut *strict, 1).await.unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::InvalidData, Some("zero_dates")),
                "{error}"
            );
            drop(strict);
            server.run(&["DELETE FROM t"]).await;
            let mut lenient = follow(&server, json!({ "zero_dates": "null" })).await;
            server.run(&insert).await;
            let mut followed = Followed::default();
            followed.more(&mut *lenient, 1).await.unwrap();
            let changes = Changes::of(&followed.batches[0].1).unwrap();
            let nulls: Vec<_> = changes.rows().columns().iter().map(|column| column.null_count()).collect();
            assert_eq!(nulls, [0, 1, 1, 1]);
        });
    }
}
