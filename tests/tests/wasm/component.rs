//! A whole connector as a component: the same suite as a native one, and the same rows through the same pipeline.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use connector_hub::{
    api::{
        Config, Connector, Result, Value as Json,
        arrow::{
            array::{Array, AsArray},
            datatypes::Int64Type,
        },
        testing::{Broken, Source, Subject, Suite, Table},
    },
    plugins::{PluginFolder, Registry, RegistryOptions},
};
use hub_tests::{Environment, Hub, skip};
use rusqlite::Connection;
use serde_json::json;

use crate::guests::{guest, hub, share_compiled};

/// A web server of files, on a port of its own, that knows ranges.
#[derive(Clone)]
struct WebServer {
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    port: u16,
}

impl WebServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { files: Arc::default(), port: listener.local_addr().unwrap().port() };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (serving, Ok(stream)) = (serving.clone(), stream) else { continue };
                // A client that goes away ends its own thread only.
                thread::spawn(move || drop(serving.answer(stream)));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/files", self.port)
    }

    fn put(&self, name: &str, content: Vec<u8>) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), content);
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (mut path, mut from) = (String::new(), 0);
        for line in BufReader::new(&stream).lines() {
            let line = line?;
            if let Some(rest) = line.strip_prefix("GET /files/") {
                path = decoded(rest.split(' ').next().unwrap_or_default());
            } else if let Some(range) = line.strip_prefix("Range: bytes=") {
                from = range.trim_end_matches('-').parse().unwrap_or(0);
            } else if line.is_empty() {
                break;
            }
        }
        let file = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        let (status, body) = match file {
            None => ("404 Not Found", Vec::new()),
            Some(file) if from > file.len() => ("416 Range Not Satisfiable", Vec::new()),
            Some(file) if from > 0 => ("206 Partial Content", file[from..].to_vec()),
            Some(file) => ("200 OK", file),
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        stream.write_all(&body)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Until the client has read it all.
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}

/// A name without `%XX`.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A folder with the plugins of this run and the component.
pub(crate) fn plugins(folder: &Path, component: &Path) -> PathBuf {
    let plugins = folder.join("plugins");
    fs::create_dir(&plugins).unwrap();
    let with_time = |file: &Path| {
        let copy = plugins.join(file.file_name().unwrap());
        fs::copy(file, &copy).unwrap();
        // The host waits for files that have only just been written.
        let modified = fs::metadata(file).unwrap().modified().unwrap();
        fs::File::options().append(true).open(copy).unwrap().set_modified(modified).unwrap();
    };
    for entry in fs::read_dir(Environment::get().plugins).unwrap() {
        with_time(&entry.unwrap().path());
    }
    with_time(component);
    plugins
}

/// The component, and a server whose files are the source's tables.
struct Web {
    connector: Arc<dyn Connector>,
    server: WebServer,
}

impl Subject for Web {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    fn config(&self) -> Config {
        Config::new().with("url", self.server.url())
    }

    fn broken(&self) -> Vec<Broken> {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = Config::new().with("url", format!("http://127.0.0.1:{port}/files"));
        vec![Broken::new("a port that nobody listens at", config, "network", "url")]
    }

    fn source(&self, table: &Table) -> Result<Source> {
        let name = format!("{}.ndjson", table.name);
        self.server.put(&name, ndjson(table).into_bytes());
        let mut options = Config::new().with("file", name);
        if table.rows.num_rows() == 0 {
            // An empty file does not tell its columns.
            options.set("columns", Json::from(vec!["id:integer", "note:text"]));
        }
        Ok(Source::new("query", options))
    }
}

/// The suite's tables have an `id` and texts.
fn ndjson(table: &Table) -> String {
    let mut file = String::new();
    for row in 0..table.rows.num_rows() {
        let mut object = serde_json::Map::new();
        for (column, array) in table.columns.iter().zip(table.rows.columns()) {
            let value = match array.as_string_opt::<i32>() {
                _ if array.is_null(row) => Json::Null,
                Some(texts) => texts.value(row).into(),
                None => array.as_primitive::<Int64Type>().value(row).into(),
            };
            object.insert(column.name.clone(), value);
        }
        writeln!(file, "{}", Json::Object(object)).unwrap();
    }
    file
}

#[test]
fn a_component_conforms_as_a_native_connector_does() {
    let Some(component) = guest("web-lines") else { return skip("no guest `web-lines`") };
    let folder = tempfile::tempdir().unwrap();
    let plugins = plugins(folder.path(), &component);
    share_compiled(folder.path());
    let options = RegistryOptions::new(vec![PluginFolder::given(plugins)], folder.path().join("cache"));
    let connector = Registry::open(options).find("web-lines").unwrap().connector;
    let subject = Web { connector: Arc::clone(&connector), server: WebServer::start() };
    // It writes nothing and has no password: the same as the native connector of files.
    Suite::new(subject).loaded(connector).run().assert_except(&[
        "refuses_token_not_next",
        "refuses_commit_after_lane_taken",
        "every_type_row",
        "secrets_never_in_output",
        "rollback_on_drop",
        "rejected_rows",
    ]);
}

/// Values at the edges: numbers beyond a float, exponents, nulls, texts of several bytes, JSON of several levels.
fn edge_lines() -> String {
    let mut file = String::new();
    for row in 0..5_000 {
        let amount = ["1.50", "-0.1", "1.5e3", "12e-3", "123456789012345678901234567890", "null"][row % 6];
        let note = ["\"ünï ✓ 名前\"", "\"\"", "\"a\\nb\\u0000c\"", "null"][row % 4];
        let big = 9_007_199_254_740_993_i64 + i64::try_from(row).unwrap();
        writeln!(
            file,
            "{{\"id\":{big},\"amount\":{amount},\"note\":{note},\"flag\":{},\"more\":{{\"list\":[{row},null]}}}}",
            row % 2 == 0
        )
        .unwrap();
    }
    file
}

fn run_into(hub: &Hub, name: &str, source: &serde_json::Value) -> u64 {
    let destination = json!({
        "connector": "sqlite",
        "config": { "file": hub.path(&format!("{name}.db")) },
        "options": { "mode": "append", "table": "result", "create_table": true },
    });
    let more = json!({ "allow_duplicates": true });
    hub.run(&hub.pipeline(name, source, &destination, &more)).expect_success().rows()
}

/// Declarations and all values, as the database prints them.
fn content(file: &Path) -> Vec<String> {
    let database = Connection::open(file).unwrap();
    let declared: String = database
        .query_row("select sql from sqlite_master where name = 'result'", [], |row| row.get(0))
        .unwrap();
    let mut statement = database
        .prepare(
            "select id || '|' || quote(amount) || '|' || typeof(amount) || '|' || quote(hex(note)) || '|' \
             || typeof(note) || '|' || quote(flag) || '|' || quote(more) from result order by rowid",
        )
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<Vec<String>>>();
    std::iter::once(declared).chain(rows.unwrap()).collect()
}

#[test]
fn a_native_plugin_and_a_component_give_equal_rows_through_the_same_pipeline() {
    let Some(component) = guest("web-lines") else { return skip("no guest `web-lines`") };
    let mut hub = hub();
    hub.environment.plugins = plugins(&hub.path(""), &component);
    let (server, lines) = (WebServer::start(), edge_lines());
    hub.write("edge.ndjson", &lines);
    server.put("edge.ndjson", lines.into_bytes());
    let source = |connector: &str, config: serde_json::Value| {
        json!({
            "connector": connector, "config": config, "strategy": "query", "options": { "file": "edge.ndjson" },
        })
    };
    let native = run_into(&hub, "native", &source("ndjson", json!({ "directory": hub.path("") })));
    let component = run_into(&hub, "component", &source("web-lines", json!({ "url": server.url() })));
    assert_eq!((native, component), (5_000, 5_000));
    let [native, component] = ["native.db", "component.db"].map(|name| content(&hub.path(name)));
    assert_eq!(native.len(), 5_001);
    assert!(native == component, "{:?}", native.iter().zip(&component).find(|(one, other)| one != other));
}
