//! The server that the launcher started is the one that the other tests need.

use tokio_postgres::NoTls;

#[tokio::test]
async fn the_server_decodes_logically_and_needs_the_password() {
    let Ok(url) = std::env::var("HUB_TEST_POSTGRES_URL") else {
        return hub_tests::skip("no PostgreSQL");
    };
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let row = client.query_one("show wal_level", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "logical");
    drop(client);
    connection.await.unwrap().unwrap();

    let mut wrong: tokio_postgres::Config = url.parse().unwrap();
    wrong.password("wrong");
    let error = wrong.connect(NoTls).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "28P01");
}
