//! Somebody in the middle whose certificate is trusted, and who hears and passes on every word.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::{io, net::Ipv4Addr, path::Path, sync::Arc};

use hub_plugin_tls::{Files, Verify, client_config};
use hub_tests::Hub;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    check_steps::{at_port, check, with},
    tls::{server, statement},
};

/// Bytes of the message that asks for TLS.
const REQUEST: usize = 8;

/// A port where TLS ends and begins anew on its way to the server.
struct Middle {
    port: u16,
    /// Ends the sessions with us.
    _runtime: Runtime,
}

impl Middle {
    fn before(server: u16, certificate: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A session that one side ends is over.
                tokio::spawn(join(client, server, acceptor.clone()));
            }
        });
        Self { port, _runtime: runtime }
    }
}

async fn join(mut client: TcpStream, server: u16, acceptor: TlsAcceptor) -> io::Result<()> {
    let mut request = [0; REQUEST];
    client.read_exact(&mut request).await?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    server.write_all(&request).await?;
    // `S`: the server takes TLS.
    client.write_u8(server.read_u8().await?).await?;
    let config = client_config("ssl_mode", Verify::Nothing, Files::default()).map_err(io::Error::other)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut server = TlsConnector::from(config).connect(name, server).await?;
    let mut client = acceptor.accept(client).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[test]
fn a_login_is_bound_to_the_certificate_of_the_server_itself() {
    let hub = Hub::new();
    let Some((cluster, authority)) = server(&hub, "DNS:localhost,IP:127.0.0.1", 30) else { return };
    // Trusted, and of the right name: nothing but the binding of the login can tell it from the server's.
    let (certificate, key) = authority.issue("middle", "middle", "DNS:localhost,IP:127.0.0.1", 30).unwrap();
    let middle = Middle::before(cluster.port(), &certificate, &key);
    let config =
        with(&at_port(middle.port), json!({ "ssl_mode": "verify-full", "ca_file": authority.certificate() }));
    let steps = check(&hub, &config, "query", statement());
    let step = steps.failed("authentication");
    assert!(step["message"].as_str().unwrap().contains("channel binding"), "{step}");

    // Where the server asks for no password there is nothing to bind: the way itself is open.
    cluster.admit("hostssl all all 127.0.0.1/32 trust\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    check(&hub, &config, "query", statement()).expect_passed();
}
