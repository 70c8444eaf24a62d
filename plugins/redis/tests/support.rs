//! The server of the tests, and what stands in for the host.

use std::{sync::Arc, time::Duration};

use connector_redis::Redis;
use hub_plugin_api::{Config, Connection, Connector, Context, testing::TestContext};
use redis::{Client, aio::MultiplexedConnection};
use tokio::runtime::Runtime;

/// A server that the launcher started.
pub struct Server {
    pub config: Config,
    pub password: String,
    pub url: String,
}

impl Server {
    pub fn get() -> Self {
        let Ok(url) = std::env::var("HUB_TEST_REDIS_URL") else { panic!("run `cargo xtask test`") };
        let rest = url.strip_prefix("redis://").expect("`HUB_TEST_REDIS_URL` is an address");
        let (login, place) = rest.split_once('@').expect("it names a user");
        let (user, password) = login.split_once(':').expect("it has a password");
        let (host, port) = place.split_once(':').expect("it has a port");
        let config = Config::new()
            .with("host", host)
            .with("port", port.parse::<u16>().unwrap())
            .with("username", user);
        Self { config, password: password.to_owned(), url: url.clone() }
    }

    /// The same server, another database of it.
    pub fn database(mut self, index: u8) -> Self {
        self.config.set("database_index", index);
        self.url = format!("{}/{index}", self.url);
        self
    }

    /// A session of the tests' own.
    pub async fn client(&self) -> MultiplexedConnection {
        let client = Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
    }

    pub fn context(&self) -> Context {
        context(&self.password)
    }

    pub async fn connection(&self) -> Box<dyn Connection> {
        Redis.connect(&self.config, &self.context()).await.unwrap()
    }
}

/// Waits for answers as long as a busy machine needs.
pub fn patient() -> redis::AsyncConnectionConfig {
    let limit = Some(Duration::from_secs(60));
    redis::AsyncConnectionConfig::new().set_response_timeout(limit).set_connection_timeout(limit)
}

pub fn context(password: &str) -> Context {
    Arc::new(TestContext::new().with_secret("password", password)).context()
}

/// Runs a test on a runtime as the glue has one.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = Runtime::new().unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await });
    done.expect("the test ends within two minutes")
}
