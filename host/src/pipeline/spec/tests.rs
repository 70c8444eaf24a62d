use std::{fmt::Write, fs, path::Path};

use hub_plugin_api::{ConnectorSpec, Parameter, Role, Secret, Strategy, json};
use proptest::prelude::*;

use super::*;

fn server() -> ConnectorSpec {
    ConnectorSpec::new("server", "Server")
        .parameter(Parameter::text("host", "Host").default("localhost"))
        .parameter(Parameter::number("port", "Port").default(5432).range(1, 65_535))
        .parameter(Parameter::text("username", "Username").required())
        .parameter(Parameter::password("password", "Password"))
        .parameter(Parameter::dropdown(
            "ssl_mode",
            "SSL Mode",
            &[("disable", "Disable"), ("require", "Require")],
        ))
        .parameter(Parameter::file("ca_file", "CA file").advanced())
        .strategy(
            Strategy::source("query", "By Query")
                .option(Parameter::multiline("statement", "Statement").required())
                .option(Parameter::list("cursor", "Cursor")),
        )
        .strategy(
            Strategy::destination("write", "By Write Operation").option(Parameter::text("table", "Table")),
        )
}

fn file() -> ConnectorSpec {
    ConnectorSpec::new("file", "File").parameter(Parameter::file("file", "File").required()).strategy(
        Strategy::destination("write", "By Write Operation")
            .option(Parameter::text("table", "Table").required())
            .option(Parameter::structured("statements", "Statements")),
    )
}

const GOOD: &str = r#"version: 1
name: orders
source:
  connector: server@^1
  config: { host: db, username: hub, password: hunter2 }
  options:
    statement: select * from orders
    cursor: [id]
destination:
  connector: file
  config:
    file: data/orders.db
  options: { table: orders }
"#;

fn read(text: &str) -> Result<PipelineSpec, FileError> {
    PipelineFile::parse(text, Path::new("/srv/orders.yaml"))?.resolve(&server(), &file())
}

/// What the command line prints for a file.
fn complaint(text: &str) -> String {
    let mut lines = String::new();
    let error = read(text).expect_err(text);
    for (line, hint) in error.lines() {
        writeln!(lines, "error: {}", line.replace("/srv/", "")).unwrap();
        if let Some(hint) = hint {
            writeln!(lines, "hint: {hint}").unwrap();
        }
    }
    lines
}

/// The good file with one piece replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_complete_file_becomes_a_pipeline() {
    let spec = read(GOOD).unwrap();
    assert_eq!((spec.name.as_str(), spec.source.strategy.as_str()), ("orders", "query"));
    assert_eq!(spec.source.connector, "server@^1");
    assert_eq!(spec.source.config.text("host"), Some("db"));
    assert_eq!(spec.source.options.list("cursor"), ["id"]);
    assert_eq!(spec.destination.strategy, "write");
    assert_eq!(spec.destination.config.text("file"), Some("/srv/data/orders.db"));
    assert_eq!((spec.commit, spec.retry), (CommitSpec::default(), RetrySpec::default()));
    assert_eq!((spec.lanes, spec.parallel, spec.on_rejected), (1, 1, OnRejected::Stop));
}

#[test]
fn secrets_are_apart_and_never_shown() {
    let spec = read(GOOD).unwrap();
    assert_eq!(spec.source.config.get("password"), None);
    assert_eq!(spec.source.secrets["password"], SecretReference::Literal(Secret::new("hunter2")));
    assert!(!format!("{spec:?}").contains("hunter2"));
    let wrong = changed("username: hub, password: hunter2", "username: hub, passwort: hunter2");
    assert!(!complaint(&wrong).contains("hunter2"));
}

#[test]
fn secrets_may_lie_in_the_environment_or_in_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "hunter2\n").unwrap();
    let text = changed("password: hunter2", "password: \"${file:secret}\"");
    let path = folder.path().join("orders.yaml");
    let spec = PipelineFile::parse(&text, &path).unwrap().resolve(&server(), &file()).unwrap();
    assert_eq!(spec.source.secrets["password"], SecretReference::File(folder.path().join("secret")));
    let text = changed("password: hunter2", "password: \"${env:PATH}\"");
    assert_eq!(read(&text).unwrap().source.secrets["password"], SecretReference::Env("PATH".into()));
}

#[test]
fn own_settings_replace_the_defaults() {
    let text = format!(
        "{GOOD}commit: {{ every: 250ms, bytes: 1MB, rows: 500 }}\non_rejected: dead_letter\non_lost_snapshot: mixed\n\
         allow_duplicates: true\nlanes: 2\nparallel: 4\nretry: {{ attempts: 2, first_delay: 1s, max_delay: 1m }}\n"
    );
    let spec = read(&text).unwrap();
    assert_eq!(spec.commit, CommitSpec { every_ms: 250, bytes: 1_000_000, rows: Some(500) });
    assert_eq!(spec.retry, RetrySpec { attempts: 2, first_delay_ms: 1000, max_delay_ms: 60_000 });
    assert_eq!((spec.on_rejected, spec.on_lost_snapshot), (OnRejected::DeadLetter, OnLostSnapshot::Mixed));
    assert_eq!((spec.allow_duplicates, spec.lanes, spec.parallel), (true, 2, 4));
}

#[test]
fn one_side_is_read_without_the_other() {
    let text = changed("file: data/orders.db", "flie: x");
    let file_of = PipelineFile::parse(&text, Path::new("orders.yaml")).unwrap();
    assert!(file_of.resolve_side(Role::Source, &server()).is_ok());
    assert!(file_of.resolve_side(Role::Destination, &file()).is_err());
}

#[test]
fn broken_files_name_line_field_and_fix() {
    let mut table = String::new();
    for (name, text) in [
        ("empty", String::new()),
        ("not a map", "- 1\n- 2\n".into()),
        ("not yaml", changed("config: { host", "config: { host: [")),
        ("tab indentation", changed("  connector: file", "\tconnector: file")),
        ("tab indentation below a list", changed("    cursor: [id]", "    cursor:\n\t- id")),
        ("unknown version", changed("version: 1", "version: 2")),
        ("version as text", changed("version: 1", "version: \"1\"")),
        ("no version and no name", changed("version: 1\nname: orders\n", "")),
        ("bad name", changed("name: orders", "name: my orders")),
        ("name of a wrong type", changed("name: orders", "name: 7")),
        ("unknown field", format!("{GOOD}comit: {{ every: 10s }}\n")),
        ("unknown field far from any", format!("{GOOD}schedule: daily\n")),
        ("unknown field of a side", changed("  options:", "  option:")),
        ("duplicate key", format!("{GOOD}name: again\n")),
        ("duplicate parameter", changed("host: db, username", "host: db, host: eb, username")),
        (
            "side is text",
            changed("destination:\n  connector: file\n", "destination: file\nx:\n  connector: file\n"),
        ),
        ("no connector", changed("  connector: file\n", "")),
        ("no destination", GOOD.split("destination:").next().unwrap().into()),
        ("unknown parameter", changed("host: db", "hots: db")),
        ("option under config", changed("host: db", "statement: select 1")),
        ("number out of range", changed("host: db", "port: 70000")),
        ("number as text", changed("host: db", "port: \"5432\"")),
        ("text as number", changed("host: db", "host: 10")),
        ("dropdown", changed("host: db", "ssl_mode: on")),
        ("password as number", changed("password: hunter2", "password: 1234")),
        ("missing required parameter", changed("username: hub, ", "")),
        ("missing required option", changed("    statement: select * from orders\n", "")),
        ("required parameter without content", changed("username: hub", "username: \"\"")),
        ("path without content", changed("file: data/orders.db", "file: \"\"")),
        ("missing config", changed("  config: { host: db, username: hub, password: hunter2 }\n", "")),
        ("list as text", changed("cursor: [id]", "cursor: id")),
        ("unknown strategy", changed("  options:\n", "  strategy: qeury\n  options:\n")),
        ("strategy of the other side", changed("  options:\n", "  strategy: write\n  options:\n")),
        ("reference outside secrets", changed("host: db", "host: \"${env:HOST}\"")),
        ("reference inside a list", changed("cursor: [id]", "cursor: [id, \"${file:x}\"]")),
        (
            "reference to nothing",
            changed("password: hunter2", "password: \"${env:CONNECTOR_HUB_NEVER_SET}\""),
        ),
        ("reference of another tool", changed("password: hunter2", "password: \"${PGPASSWORD}\"")),
        ("reference as a part", changed("password: hunter2", "password: \"a${env:PATH}\"")),
        ("duration without unit", format!("{GOOD}commit: {{ every: 10 }}\n")),
        ("unknown unit", format!("{GOOD}commit: {{ bytes: 64KB }}\n")),
        ("no rows", format!("{GOOD}commit: {{ rows: 0 }}\n")),
        ("not one of the words", format!("{GOOD}on_rejected: skip\n")),
        ("not true or false", format!("{GOOD}allow_duplicates: yes\n")),
        ("too many lanes", format!("{GOOD}lanes: 1000\n")),
        (
            "several problems",
            changed("host: db", "hots: db, port: 0").replace("name: orders", "nmae: orders"),
        ),
    ] {
        writeln!(table, "== {name}\n{}", complaint(&text)).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn unknown_connectors_of_both_sides_are_told_together_with_other_mistakes() {
    let text = changed("table: orders", "tabel: orders").replace("server@^1", "srever");
    let file = PipelineFile::parse(&text, Path::new("/srv/orders.yaml")).unwrap();
    let find = |known: &'static [&str]| {
        move |reference: &str| match reference {
            "file" if known.contains(&"file") => Ok(super::tests::file()),
            other => Err(hub_plugin_api::Error::config("connector", format!("There is no `{other}`"))),
        }
    };
    let told = |error: FileError| error.lines().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(
        told(file.resolve_with(find(&["file"])).unwrap_err()),
        [
            "/srv/orders.yaml:4:14: source.connector: There is no `srever`",
            "/srv/orders.yaml:13:12: destination.options.table: `table` (Table) is required by the strategy `write`",
            "/srv/orders.yaml:13:14: destination.options.tabel: There is no parameter `tabel` here",
        ]
    );
    let both = told(file.resolve_with(find(&[])).unwrap_err());
    assert_eq!(both[1], "/srv/orders.yaml:10:14: destination.connector: There is no `file`");
}

#[test]
fn file_in_another_encoding_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.yaml");
    fs::write(&path, b"version: 1\nname: \xc3\xbc\xfc\n").unwrap();
    let error = PipelineFile::read(&path).err().unwrap();
    let (line, hint) = error.lines().next().unwrap();
    assert!(line.ends_with("orders.yaml:2:8: The file is not text in UTF-8"), "{line}");
    assert_eq!(hint, Some("Save it as UTF-8"));
}

#[test]
fn schema_holds_the_connectors_parameters() {
    let schema = pipeline_schema(&[server(), file()]);
    assert_eq!(schema["properties"]["source"]["properties"]["connector"]["examples"], json!(["server"]));
    assert_eq!(
        schema["properties"]["destination"]["properties"]["connector"]["examples"],
        json!(["server", "file"])
    );
    let side = &schema["properties"]["source"]["allOf"][0]["then"];
    assert_eq!(side["properties"]["config"]["required"], json!(["username"]));
    assert_eq!(side["allOf"][0]["then"]["properties"]["options"]["required"], json!(["statement"]));
    insta::assert_json_snapshot!(connector_schema(&server()));
}

proptest! {
    /// Whatever a slip of the hand makes of a good file: it is read, or something is said about it.
    #[test]
    fn every_edit_is_read_or_explained(at in 0..GOOD.len(), length in 0..12_usize, text in "[ -~\n\t]{0,6}") {
        let mut edited = GOOD.to_owned();
        edited.replace_range(at..(at + length).min(GOOD.len()), &text);
        if let Err(error) = read(&edited) {
            prop_assert!(!error.problems.is_empty());
            let lines = edited.lines().count() as u64 + 1;
            for problem in &error.problems {
                prop_assert!(!problem.message.is_empty());
                prop_assert!(problem.place.is_some_and(|place| (1..=lines).contains(&place.line)), "{problem}");
            }
        }
    }
}
