use connector_postgres::Postgres;
use hub_plugin_api::{
    Connector, ErrorKind,
    arrow::{array::AsArray, datatypes::Int32Type},
};

use crate::support::{Server, read_statement, run};

#[test]
fn reads_all_rows_of_a_statement() {
    run(async {
        let connection = Server::get().connection().await;
        let statement = "select i, i::text as t from generate_series(1, 50000) i order by i; -- all";
        let read = read_statement(&*connection, statement).await.unwrap();
        let rows = read.one();
        assert_eq!(rows.num_rows(), 50_000);
        assert!(read.batches.len() > 1);
        let numbers = rows.column(0).as_primitive::<Int32Type>();
        assert!(numbers.values().iter().copied().eq(1..=50_000));
        assert_eq!(rows.column(1).as_string::<i32>().value(49_999), "50000");
    });
}

#[test]
fn rows_come_over_tls_as_they_do_without() {
    run(async {
        let server = Server::get();
        let authority = std::env::var("HUB_TEST_POSTGRES_CA").ok();
        if server.text("show ssl").await.as_deref() != Some("on") {
            println!("skipped: the server speaks no TLS");
            return;
        }
        let statement = "select i, repeat('x', i % 300) as t from generate_series(1, 50000) i";
        let plain = read_statement(&*server.connection().await, statement).await.unwrap();
        for (mode, authority) in [("require", None), ("verify-full", authority)] {
            let mut config = server.config.clone();
            config.set("ssl_mode", mode);
            let trusted = authority.is_some();
            if let Some(authority) = authority {
                config.set("ca_file", authority);
            }
            let connection = Postgres.connect(&config, &server.context()).await.unwrap();
            let read = read_statement(&*connection, statement).await;
            if mode == "verify-full" && !trusted {
                assert_eq!(read.unwrap_err().kind, ErrorKind::Tls);
                continue;
            }
            assert_eq!(read.unwrap().one(), plain.one());
        }
    });
}
