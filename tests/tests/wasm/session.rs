//! A component whose source ends a session in which nobody says anything, while the destination takes no rows.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hub_tests::skip;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::{
    component::plugins,
    guests::{guest, hub},
};

/// What the server has to give.
const NUMBERS: i64 = 400;

/// How long the server waits for a word.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the destination takes nothing.
const SLOW: Duration = Duration::from_secs(13);

/// What happened at the server.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) sessions: u32,
    /// Sessions that it ended because nobody said anything.
    ended: u32,
    alive: u32,
    /// The longest time between two requests for a number.
    longest_pause: Duration,
}

#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<Seen>>);

impl Server {
    pub(crate) fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (server, port) = (self.clone(), listener.local_addr().unwrap().port());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                server.seen().sessions += 1;
                thread::spawn(move || drop(server.serve(stream)));
            }
        });
        port
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let (mut number, mut asked) = (0, Instant::now());
        loop {
            let mut line = String::new();
            match lines.read_line(&mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(_) => {
                    self.seen().ended += 1;
                    return stream.shutdown(std::net::Shutdown::Both);
                }
            }
            match line.trim_end().split_once(' ') {
                Some(("after", last)) => number = last.parse::<i64>().unwrap() + 1,
                None if line == "next\n" => {
                    let mut seen = self.seen();
                    seen.longest_pause = seen.longest_pause.max(asked.elapsed());
                    asked = Instant::now();
                    drop(seen);
                    if number == NUMBERS {
                        stream.write_all(b"end\n")?;
                    } else {
                        writeln!(stream, "{number}")?;
                        number += 1;
                    }
                }
                None if line == "alive\n" => self.seen().alive += 1,
                _ => panic!("`{line}` is no request"),
            }
        }
    }
}

/// Rows, and how many different ones.
fn numbers(file: &Path) -> Option<(i64, i64)> {
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let count = "select count(*), count(distinct id) from result";
    database.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}

/// Locks a database against writers once it has rows.
fn lock_when_it_has_rows(file: &Path) {
    let began = Instant::now();
    while numbers(file).is_none_or(|(rows, _)| rows == 0) {
        assert!(began.elapsed() < Duration::from_secs(60), "There are no rows");
        thread::sleep(Duration::from_millis(5));
    }
    let database = Connection::open(file).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    database.execute_batch("begin immediate").unwrap();
    let (rows, _) = numbers(file).unwrap();
    assert!(rows < NUMBERS / 2, "{rows} rows are through before the destination is slow");
    thread::sleep(SLOW);
    database.execute_batch("commit").unwrap();
}

#[test]
fn a_session_is_kept_alive_while_the_destination_takes_no_rows() {
    let Some(component) = guest("session") else { return skip("no guest `session`") };
    let mut hub = hub();
    let folder = hub.path("with-session");
    fs::create_dir(&folder).unwrap();
    hub.environment.plugins = plugins(&folder, &component);
    let server = Server::default();
    let port = server.start();
    let source = json!({
        "connector": "session", "config": { "host": "127.0.0.1", "port": port }, "strategy": "query",
    });
    let to = hub.path("destination.db");
    let destination = json!({
        "connector": "sqlite",
        "config": { "file": to },
        "options": { "mode": "append", "table": "result", "create_table": true },
    });
    let more = json!({
        "allow_duplicates": true,
        "commit": { "rows": 1, "every": "1s", "bytes": "64MiB" },
        "retry": { "attempts": 1 },
    });
    let pipeline = hub.pipeline("session", &source, &destination, &more);
    let locking = thread::spawn(move || lock_when_it_has_rows(&to));
    hub.run(&pipeline).expect_success();
    locking.join().unwrap();
    assert_eq!(numbers(&hub.path("destination.db")), Some((NUMBERS, NUMBERS)));
    let seen = server.seen();
    assert!(seen.longest_pause > PATIENCE, "the source was asked all the time: {:?}", seen.longest_pause);
    assert!(seen.alive >= 2, "{} signs of life", seen.alive);
    assert_eq!((seen.sessions, seen.ended), (1, 0), "sessions, and those that the server ended");
}
