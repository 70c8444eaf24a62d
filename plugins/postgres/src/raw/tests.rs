//! The protocol against a server that says what a test wants; the real one is in the crate's own tests.

use std::{future::poll_fn, sync::Arc, time::Duration};

use hub_plugin_api::{Config, Context, ErrorKind, Result, testing::TestContext};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::JoinHandle,
};

use super::{CopyOut, RawMode, RawSession};
use crate::config::Settings;

/// A message of the server's.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    message
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn refusal(code: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0C{code}\0Mno\0Dbecause\0\0").as_bytes())
}

/// One client's connection, from the server's side.
struct Peer(TcpStream);

impl Peer {
    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next message of the client's: its tag and contents.
    async fn hear(&mut self) -> (u8, Vec<u8>) {
        let tag = self.0.read_u8().await.unwrap();
        let mut body = vec![0; self.0.read_u32().await.unwrap() as usize - 4];
        self.0.read_exact(&mut body).await.unwrap();
        (tag, body)
    }

    async fn startup(&mut self) -> Vec<u8> {
        let mut body = vec![0; self.0.read_u32().await.unwrap() as usize - 4];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    /// Lets a client in, and accepts the settings of its session.
    async fn welcome(&mut self) {
        self.startup().await;
        self.let_in().await;
    }

    async fn let_in(&mut self) {
        let (accepted, key) = (message(b'R', &[0; 4]), message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]));
        let version = message(b'S', b"server_version\x0017.2\0");
        self.say(&[accepted, version, key, ready()].concat()).await;
        assert_eq!(self.hear().await.0, b'Q');
        self.say(&[message(b'C', b"SET\0"), ready()].concat()).await;
    }

    /// Waits for a statement and answers it.
    async fn answer(&mut self, bytes: &[u8]) {
        assert_eq!(self.hear().await.0, b'Q');
        self.say(bytes).await;
    }
}

/// A server for one connection, and the settings that lead to it.
async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl FnOnce(Peer) -> F + Send + 'static,
) -> (Settings, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new().with("host", "127.0.0.1").with("port", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move { serve(Peer(listener.accept().await.unwrap().0)).await });
    (Settings::read(&config).unwrap(), serving)
}

fn context() -> Context {
    Arc::new(TestContext::new().with_secret("password", "p w")).context()
}

async fn open(settings: &Settings) -> Result<RawSession> {
    RawSession::open(settings, &context(), RawMode::Query).await
}

async fn more(copy: &mut CopyOut) -> Result<bool> {
    poll_fn(|context| copy.poll_wait(context)).await
}

fn run(test: impl Future<Output = ()>) {
    let timed = async { tokio::time::timeout(Duration::from_secs(30), test).await };
    Runtime::new().unwrap().block_on(timed).expect("the test ends within half a minute");
}

#[test]
fn passwords_are_sent_as_the_server_asks_for_them() {
    run(async {
        // `md5` and 32 hexadecimal digits.
        for (ask, length) in [(vec![0, 0, 0, 3], 4), (vec![0, 0, 0, 5, 1, 2, 3, 4], 36)] {
            let (settings, serving) = server(move |mut peer| async move {
                let startup = peer.startup().await;
                assert!(startup.windows(10).any(|part| part == b"user\0postg"));
                peer.say(&message(b'R', &ask)).await;
                let (tag, password) = peer.hear().await;
                assert_eq!((tag, password.len(), password.last()), (b'p', length, Some(&0)));
                assert!(if ask.len() == 4 { password == b"p w\0" } else { password.starts_with(b"md5") });
                peer.let_in().await;
            })
            .await;
            open(&settings).await.unwrap();
            serving.await.unwrap();
        }
    });
}

#[test]
fn login_that_cannot_be_made_says_why() {
    run(async {
        let kerberos = message(b'R', &[0, 0, 0, 7]);
        let early = message(b'R', &[0, 0, 0, 11, b'x']);
        let unproven = message(b'R', b"\0\0\0\x0aSCRAM-SHA-512\0\0");
        let cases = [
            (kerberos, ErrorKind::Unsupported),
            (early, ErrorKind::Authentication),
            (unproven, ErrorKind::Authentication),
            (refusal("28P01"), ErrorKind::Authentication),
            (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), ErrorKind::Protocol),
            (Vec::new(), ErrorKind::Network),
        ];
        for (answer, kind) in cases {
            let (settings, _) = server(move |mut peer| async move {
                peer.startup().await;
                peer.say(&answer).await;
            })
            .await;
            let error = open(&settings).await.err().unwrap();
            assert_eq!(error.kind, kind, "{error}");
        }
    });
}

#[test]
fn server_without_tls_is_refused_where_tls_is_wanted() {
    run(async {
        let (mut settings, _) = server(|mut peer| async move {
            peer.startup().await;
            peer.say(b"N").await;
        })
        .await;
        settings.ssl_mode = crate::config::SslMode::Require;
        let error = open(&settings).await.err().unwrap();
        assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::Tls, Some("ssl_mode")));
        assert!(error.hint.unwrap().contains("ssl = off"));
    });
}

#[test]
fn refused_statement_keeps_its_code_and_the_session() {
    run(async {
        let (settings, serving) = server(|mut peer| async move {
            peer.welcome().await;
            peer.answer(&[refusal("42P01"), ready()].concat()).await;
            let columns =
                b"\0\x02a\0\0\0\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\0b\0\0\0\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\0";
            let row = b"\0\x02\0\0\0\x02hi\xff\xff\xff\xff";
            let notice = message(b'N', b"SNOTICE\0\0");
            let parts =
                [message(b'T', columns), notice, message(b'D', row), message(b'C', b"SELECT 1\0"), ready()];
            // One byte at a time.
            for byte in parts.concat() {
                peer.say(&[byte]).await;
            }
        })
        .await;
        let mut session = open(&settings).await.unwrap();
        let error = session.run("select 1", "Could not look").await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::NotFound, Some("42P01")));
        assert_eq!(
            (error.message.as_str(), error.source.as_deref()),
            ("Could not look", Some("no (because)"))
        );
        let rows = session.simple_query("select 1", "Could not look").await.unwrap();
        assert_eq!((rows.get(0, "a"), rows.get(0, "b"), rows.get(0, "c")), (Some("hi"), None, None));
        serving.await.unwrap();
    });
}

#[test]
fn data_comes_whole_in_whatever_portions_and_sizes() {
    run(async {
        let sizes = [0, 1, 70_000, 3, 9_000_000, 5, 262_139, 262_140, 20];
        let payload = move |index: usize| vec![index as u8 + 1; sizes[index % sizes.len()]];
        let (settings, serving) = server(move |mut peer| async move {
            peer.welcome().await;
            peer.answer(&message(b'H', &[1, 0, 0])).await;
            let mut bytes: Vec<u8> = (0..30).flat_map(|index| message(b'd', &payload(index))).collect();
            bytes.extend([message(b'c', b""), message(b'C', b"COPY 30\0"), ready()].concat());
            for (index, portion) in bytes.chunks(1 << 20).enumerate() {
                peer.say(portion).await;
                if index % 7 == 0 {
                    // Long enough for the reader to run dry.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        })
        .await;
        let mut copy = open(&settings).await.unwrap().copy_out("copy", "Could not copy").await.unwrap();
        let mut found = 0;
        while more(&mut copy).await.unwrap() {
            while let Some(data) = copy.take().unwrap() {
                assert!(data == payload(found), "{found}");
                found += 1;
            }
        }
        assert_eq!(found, 30);
        serving.await.unwrap();
    });
}

#[test]
fn session_that_nobody_watches_says_good_bye_from_any_thread() {
    let runtime = Runtime::new().unwrap();
    let (copy, serving) = runtime.block_on(async {
        let (settings, serving) = server(|mut peer| async move {
            peer.welcome().await;
            peer.answer(&message(b'H', &[1, 0, 0])).await;
            let data = message(b'd', &[7; 20_000]).repeat(5);
            peer.say(&[data, message(b'c', b""), message(b'C', b"COPY 5\0"), ready()].concat()).await;
            assert_eq!(peer.hear().await.0, b'X');
        })
        .await;
        let mut copy = open(&settings).await.unwrap().copy_out("copy", "Could not copy").await.unwrap();
        let mut found = 0;
        while more(&mut copy).await.unwrap() {
            while copy.take().unwrap().is_some() {
                found += 1;
            }
        }
        assert_eq!(found, 5);
        (copy, serving)
    });
    drop(copy);
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), serving).await })
        .unwrap()
        .unwrap();
}

#[test]
fn stream_that_breaks_off_is_an_error_of_its_kind() {
    run(async {
        let data = || message(b'd', b"x");
        let complete = || message(b'C', b"COPY 0\0");
        for (bytes, both, kind) in [
            ([data(), refusal("57014"), ready()].concat(), false, ErrorKind::TimedOut),
            // A fatal error closes the connection.
            ([data(), refusal("57P01")].concat(), false, ErrorKind::Unavailable),
            (data(), false, ErrorKind::Network),
            ([data(), ready()].concat(), false, ErrorKind::Protocol),
            ([data(), vec![b'd', 0, 0, 0, 1]].concat(), false, ErrorKind::Protocol),
            ([data(), complete()].concat(), true, ErrorKind::Unavailable),
        ] {
            let (settings, _) = server(move |mut peer| async move {
                peer.welcome().await;
                peer.answer(&message(if both { b'W' } else { b'H' }, &[1, 0, 0])).await;
                peer.say(&bytes).await;
            })
            .await;
            let session = open(&settings).await.unwrap();
            let error = if both {
                let mut copy = session.copy_both("start", "Could not follow").await.unwrap();
                assert!(copy.wait().await.unwrap() && copy.take().unwrap() == Some(&b"x"[..]));
                assert!(!copy.wait().await.unwrap());
                copy.wait().await.unwrap_err()
            } else {
                let mut copy = session.copy_out("copy", "Could not copy").await.unwrap();
                assert!(more(&mut copy).await.unwrap() && copy.take().unwrap() == Some(&b"x"[..]));
                more(&mut copy).await.unwrap_err()
            };
            assert_eq!(error.kind, kind, "{error}");
        }
    });
}

#[test]
fn signs_of_life_go_out_while_nobody_reads() {
    run(async {
        let (settings, serving) = server(|mut peer| async move {
            peer.welcome().await;
            peer.answer(&message(b'W', &[0, 0, 0])).await;
            // More than all buffers hold: nobody takes it before the signs of life are here.
            let (mut read, mut write) = peer.0.into_split();
            let flood = tokio::spawn(async move {
                let data = message(b'd', &[7; 100_000]);
                for _ in 0..300 {
                    write.write_all(&data).await.unwrap();
                }
                write
            });
            let mut heard = vec![0; 3 * 9];
            read.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, message(b'd', b"sign").repeat(3));
            drop(flood.await.unwrap());
        })
        .await;
        let mut copy = open(&settings).await.unwrap().copy_both("start", "Could not follow").await.unwrap();
        let sender = copy.sender();
        let signs = tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sender.send(b"sign").await.unwrap();
            }
        });
        signs.await.unwrap();
        let mut found = 0;
        while found < 300 {
            assert!(copy.wait().await.unwrap());
            while copy.take().unwrap().is_some() {
                found += 1;
            }
        }
        serving.await.unwrap();
    });
}
