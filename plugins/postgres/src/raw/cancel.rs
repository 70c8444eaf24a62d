use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use hub_plugin_api::Canceller;
use postgres_protocol::message::frontend;
use tokio::{io::AsyncWriteExt as _, runtime::Handle, time};

use super::{
    bulk::Bulk,
    socket::{Endpoint, Socket},
};
use crate::{config::Settings, tls::MakeTls};

/// How long a cancel request may take to reach the server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a cancel request needs: it goes over a connection of its own.
#[derive(Clone)]
pub(super) struct Cancel(Arc<Inner>);

struct Inner {
    settings: Settings,
    tls: Option<MakeTls>,
    endpoint: Endpoint,
    process_id: i32,
    secret_key: i32,
    runtime: Handle,
}

impl Cancel {
    /// `key` is what the server gave for it: process and secret.
    pub(super) fn new(
        settings: &Settings,
        tls: Option<MakeTls>,
        endpoint: Endpoint,
        key: (i32, i32),
    ) -> Self {
        let (process_id, secret_key) = key;
        let (settings, runtime) = (settings.clone(), Handle::current());
        Self(Arc::new(Inner { settings, tls, endpoint, process_id, secret_key, runtime }))
    }

    /// Sends the request from the runtime, as drops and cancellers come from any thread. Nobody can be told of a
    /// failure: the request is a courtesy to the server, which also notices the closed socket.
    pub(super) fn send(&self) {
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            drop(time::timeout(TIMEOUT, inner.request()).await);
        });
    }

    pub(super) fn canceller(&self) -> Canceller {
        let cancel = self.clone();
        Canceller::new(move || cancel.send())
    }
}

impl Inner {
    async fn request(&self) -> hub_plugin_api::Result<()> {
        let (tls, bulk) = (self.tls.as_ref(), Bulk::default());
        let socket = Socket::connect_to(&self.endpoint, &self.settings, tls, &bulk, "Could not cancel");
        let mut socket = socket.await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret_key, &mut request);
        // The server answers by closing the connection; whether anything was cancelled it does not say.
        drop(socket.write_all(&request).await);
        drop(socket.shutdown().await);
        Ok(())
    }
}
