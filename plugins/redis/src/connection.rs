//! Server sessions: how one is opened, on a server, the master that Sentinels name, or a cluster.

use std::sync::Arc;

use hub_plugin_api::{Context, Error, ErrorKind, Result, Secret};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, Pipeline, RedisConnectionInfo,
    RedisResult, TlsMode as DriverTlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection, PubSub},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use tokio::time;

use crate::{
    cluster::{self, Master},
    config::{Deployment, Settings},
    error,
    tls::Tls,
};

/// Host and port.
pub type Address = (String, u16);

/// Where sessions are opened. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    settings: Settings,
    context: Context,
    tls: Option<Tls>,
}

/// One session. A clone is the same one, on which commands of both are on their way together.
#[derive(Clone)]
pub enum Session {
    /// On one node.
    Node(MultiplexedConnection),
    /// On whichever node of a cluster has the key.
    Cluster(ClusterConnection),
}

impl Server {
    /// Takes the settings; reaches nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a file that cannot be used.
    pub fn new(settings: Settings, context: &Context) -> Result<Self> {
        let tls = Tls::read(&settings)?;
        Ok(Self(Arc::new(Inner { settings, context: context.clone(), tls })))
    }

    /// The connection's parameters.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The host's side.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Opens a session that takes commands on any key.
    ///
    /// # Errors
    /// By kind: network, TLS, authentication, not found (database index), timed out.
    pub async fn session(&self) -> Result<Session> {
        match self.settings().deployment {
            Deployment::Cluster => self.limited(self.open_cluster()).await,
            _ => {
                let master = self.master().await?;
                self.node(&master).await
            }
        }
    }

    /// Opens a session on one node.
    ///
    /// # Errors
    /// As [`Server::session`].
    pub async fn node(&self, address: &Address) -> Result<Session> {
        self.limited(async { Ok(Session::Node(self.open_node(address).await?)) }).await
    }

    /// Opens a session on one node that hears what is published there.
    ///
    /// # Errors
    /// As [`Server::session`].
    pub async fn subscriber(&self, address: &Address) -> Result<PubSub> {
        self.limited(async {
            let client = self.client(address)?;
            client.get_async_pubsub().await.map_err(|error| self.not_opened(address, &error))
        })
        .await
    }

    /// Where keys are: the one master, or every master of the cluster.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn masters(&self) -> Result<Vec<Master>> {
        if self.settings().deployment != Deployment::Cluster {
            return Ok(vec![Master::of_all_slots(self.master().await?)]);
        }
        let mut last = None;
        for address in self.settings().addresses()? {
            let found = async { cluster::masters(&mut self.node(&address).await?, &address.0).await };
            match found.await {
                Ok(masters) => return Ok(masters),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::internal("A cluster has no address")))
    }

    /// The address of the one master; with Sentinels, as they name it now.
    async fn master(&self) -> Result<Address> {
        let settings = self.settings();
        if settings.deployment != Deployment::Sentinel {
            return Ok((settings.host.clone(), settings.port));
        }
        let secret = self.0.context.secret("sentinel_password")?;
        self.limited(async {
            let sentinels = settings.addresses()?.into_iter().map(|address| self.address(&address));
            let failed = |error: redis::RedisError| {
                error::from_driver("Could not ask the Sentinels for the master", &error)
            };
            let mut builder =
                SentinelClientBuilder::new(sentinels, &settings.sentinel_master, SentinelServerType::Master)
                    .map_err(failed)?;
            if let Some(name) = &settings.sentinel_username {
                builder = builder.set_client_to_sentinel_username(name);
            }
            if let Some(secret) = &secret {
                builder = builder.set_client_to_sentinel_password(secret.expose());
            }
            builder = self.with_login(builder)?;
            if let Some(tls) = &self.0.tls {
                builder = builder
                    .set_client_to_sentinel_certificates(tls.certificates.clone())
                    .set_client_to_redis_certificates(tls.certificates.clone())
                    .set_client_to_redis_tls_mode(driver_tls(tls));
            }
            let client = match builder.build().map_err(failed)?.async_get_client().await {
                Ok(client) => client,
                Err(error) => {
                    let error = failed(error);
                    if error.kind != ErrorKind::NotFound {
                        return Err(error);
                    }
                    // The driver says the same of a master that is down.
                    return Err(match self.is_known_to_sentinels(secret.as_ref()).await {
                        true => self.without_master(),
                        false => error.with_field("sentinel_master"),
                    });
                }
            };
            match client.get_connection_info().addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    Ok((host.clone(), *port))
                }
                other => {
                    Err(Error::new(ErrorKind::Protocol, format!("The Sentinels name `{other}` as master")))
                }
            }
        })
        .await
    }

    /// Whether a Sentinel watches a master of that name, though it may be down.
    async fn is_known_to_sentinels(&self, secret: Option<&Secret>) -> bool {
        let settings = self.settings();
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(name) = &settings.sentinel_username {
            login = login.set_username(name);
        }
        if let Some(secret) = secret {
            login = login.set_password(secret.expose());
        }
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&settings.sentinel_master);
        for address in settings.addresses().unwrap_or_default() {
            let Ok(client) = self.client_with(&address, login.clone()) else { continue };
            let Ok(mut session) = client.get_multiplexed_async_connection().await else { continue };
            if let Ok(Value::Array(_)) = session.send_packed_command(&ask).await {
                return true;
            }
        }
        false
    }

    fn without_master(&self) -> Error {
        let name = &self.settings().sentinel_master;
        Error::new(
            ErrorKind::Unavailable,
            format!("The Sentinels know no node that is master of `{name}` now"),
        )
        .with_hint("A failover takes some seconds; `SENTINEL MASTER` says why one does not come about")
    }

    fn with_login(&self, builder: SentinelClientBuilder) -> Result<SentinelClientBuilder> {
        let mut builder = builder.set_client_to_redis_db(self.settings().database_index.into());
        if let Some(name) = &self.settings().username {
            builder = builder.set_client_to_redis_username(name);
        }
        if let Some(secret) = self.password()? {
            builder = builder.set_client_to_redis_password(secret.expose());
        }
        Ok(builder)
    }

    fn password(&self) -> Result<Option<Secret>> {
        self.0.context.secret("password")
    }

    fn address(&self, (host, port): &Address) -> ConnectionAddr {
        match &self.0.tls {
            None => ConnectionAddr::Tcp(host.clone(), *port),
            Some(tls) => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: tls.insecure,
                tls_params: None,
            },
        }
    }

    fn client(&self, address: &Address) -> Result<Client> {
        let settings = self.settings();
        let mut login =
            RedisConnectionInfo::default().set_db(settings.database_index.into()).set_skip_set_lib_name();
        if let Some(name) = &settings.username {
            login = login.set_username(name);
        }
        if let Some(secret) = self.password()? {
            login = login.set_password(secret.expose());
        }
        self.client_with(address, login)
    }

    fn client_with(&self, address: &Address, login: RedisConnectionInfo) -> Result<Client> {
        let failed = |error: redis::RedisError| {
            error::from_driver("The connection cannot be set up", &error).with_field("ca_file")
        };
        let info = self.address(address).into_connection_info().map_err(failed)?.set_redis_settings(login);
        let Some(tls) = &self.0.tls else { return Client::open(info).map_err(failed) };
        let client = Client::build_with_tls(info, tls.certificates.clone()).map_err(failed)?;
        if !tls.any_name {
            return Ok(client);
        }
        let info = client.get_connection_info().clone();
        let mut address = info.addr().clone();
        address.set_danger_accept_invalid_hostnames(true);
        Client::open(info.set_addr(address)).map_err(failed)
    }

    async fn open_node(&self, address: &Address) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings().connect_timeout()))
            .set_response_timeout(Some(self.settings().command_timeout()));
        let client = self.client(address)?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| self.not_opened(address, &error))?;
        // Only for those who look at the server; an ACL may forbid it.
        drop(
            connection
                .send_packed_command(redis::cmd("CLIENT").arg("SETNAME").arg(&self.settings().client_name))
                .await,
        );
        Ok(connection)
    }

    async fn open_cluster(&self) -> Result<Session> {
        let settings = self.settings();
        let addresses = settings.addresses()?;
        let nodes = addresses.iter().map(|address| self.address(address));
        let mut builder = ClusterClientBuilder::new(nodes)
            .connection_timeout(settings.connect_timeout())
            .response_timeout(settings.command_timeout());
        if let Some(name) = &settings.username {
            builder = builder.username(name);
        }
        if let Some(secret) = self.password()? {
            builder = builder.password(secret.expose());
        }
        if let Some(tls) = &self.0.tls {
            builder = builder
                .tls(driver_tls(tls))
                .certs(tls.certificates.clone())
                .danger_accept_invalid_hostnames(tls.any_name);
        }
        let failed = |error: redis::RedisError| self.not_opened(&addresses[0], &error);
        let client = builder.build().map_err(failed)?;
        Ok(Session::Cluster(client.get_async_connection().await.map_err(failed)?))
    }

    fn not_opened(&self, (host, port): &Address, error: &redis::RedisError) -> Error {
        error::from_driver(&format!("Could not open a session on `{host}` port `{port}`"), error)
    }

    async fn limited<T>(&self, opening: impl Future<Output = Result<T>>) -> Result<T> {
        time::timeout(self.settings().connect_timeout(), opening).await.unwrap_or_else(|_| {
            let message = format!("No session was open after {} ms", self.settings().connect_timeout_ms);
            Err(Error::new(ErrorKind::TimedOut, message)
                .with_hint("Raise `connect_timeout_ms`, or check host and port"))
        })
    }
}

fn driver_tls(tls: &Tls) -> DriverTlsMode {
    if tls.insecure { DriverTlsMode::Insecure } else { DriverTlsMode::Secure }
}

impl Session {
    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// When the server refuses, or the session broke.
    pub async fn call(&mut self, doing: &str, command: &Cmd) -> Result<Value> {
        let answer = match self {
            Self::Node(node) => node.send_packed_command(command).await,
            Self::Cluster(cluster) => cluster.req_packed_command(command).await,
        };
        answer.and_then(Value::extract_error).map_err(|error| error::from_driver(doing, &error))
    }

    /// Sends many commands at once and waits for all answers. An error that the server answers with stands among them.
    /// In a cluster they go to the master of `key`'s slot, so all of their keys must be there.
    ///
    /// # Errors
    /// When the session broke.
    pub async fn pipeline(&mut self, doing: &str, key: &[u8], commands: &Pipeline) -> Result<Vec<Value>> {
        let count = commands.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let answers: RedisResult<Vec<Value>> = match self {
            Self::Node(node) => node.send_packed_commands(commands, 0, count).await,
            Self::Cluster(cluster) => {
                let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                cluster.route_pipeline(commands.clone(), 0, count, route).await
            }
        };
        let answers = answers.map_err(|error| error::from_driver(doing, &error))?;
        if answers.len() != count {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{doing}: {} answers came to {count} commands", answers.len()),
            ));
        }
        Ok(answers)
    }
}
