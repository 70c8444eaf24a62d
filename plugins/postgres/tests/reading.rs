use hub_plugin_api::arrow::{array::AsArray, datatypes::Int32Type};

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
