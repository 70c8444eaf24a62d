//! What the command line prints, as snapshots: results, errors and hints, exit codes.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use hub_tests::Environment;
use tempfile::TempDir;

/// The program with nothing but the fixture as a plugin.
struct Cli {
    environment: Environment,
    folder: TempDir,
}

impl Cli {
    fn new() -> Self {
        let cli = Self { environment: Environment::get(), folder: tempfile::tempdir().unwrap() };
        let fixture = cli.environment.fixture("hub_fixture_plugin");
        fs::create_dir(cli.path("plugins")).unwrap();
        fs::copy(fixture, cli.path("plugins/fixture.so")).unwrap();
        cli
    }

    /// The program with an empty folder of plugins.
    fn without_plugins() -> Self {
        let cli = Self { environment: Environment::get(), folder: tempfile::tempdir().unwrap() };
        fs::create_dir(cli.path("plugins")).unwrap();
        cli
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A pipeline from the fixture to itself.
    fn pipeline(&self, name: &str, source: &str, rows: u32) {
        self.write(
            &format!("{name}.yaml"),
            &format!(
                "version: 1\nname: {name}\nsource:\n  connector: fixture\n  config: {{ {source} }}\n  \
                 options: {{ rows: {rows} }}\ndestination:\n  connector: fixture\nallow_duplicates: true\n\
                 retry: {{ attempts: 1 }}\n"
            ),
        );
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.environment.binary);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("CONNECTOR_HUB_LOG")
            .env("CONNECTOR_HUB_HOME", self.path("home"))
            .env("CONNECTOR_HUB_PLUGIN_PATH", self.path("plugins"))
            .env("COLUMNS", "100");
        command
    }

    /// The command, its exit code and both of its outputs, without what differs from run to run.
    fn call(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let mut text = format!("$ connector-hub {}\n", arguments.join(" "));
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let lines = String::from_utf8(bytes.clone()).unwrap();
            if !lines.is_empty() {
                writeln!(text, "--- {name}\n{}", lines.trim_end()).unwrap();
            }
        }
        writeln!(text, "--- exit code {}", output.status.code().unwrap_or(-1)).unwrap();
        let folder = self.folder.path().display().to_string();
        let executable = self.environment.binary.parent().unwrap().display().to_string();
        text.replace(&folder, "[folder]").replace(&executable, "[beside]")
    }

    fn calls(&self, commands: &[&[&str]]) -> String {
        commands.iter().map(|arguments| self.call(arguments)).collect::<Vec<_>>().join("\n")
    }
}

/// A snapshot without times, rates, sizes and hashes.
fn assert_shows(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, stands_for) in [
        (r"[0-9a-f]{64}", "[sha256]"),
        (r"in \d+\.\d s", "in [time]"),
        (r"\d+\.\d s:", "[time]:"),
        (r"\([\d,]+ rows/s\)", "([rate])"),
        (r"[\d.]+ (B|[KMG]iB) \([\d.]+ (B|[KMG]iB)/s\)", "[bytes]"),
        (r"\b\d{5,} bytes", "[size]"),
        (r"(ELF|Mach-O|PE)\) \S+,", "[format],"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[timestamp]"),
        (r"\.rs:\d+:\d+", ".rs:[place]"),
        (r"(WHERE|\[(?:folder|beside)\]/\S+) {2,}", "$1  "),
    ] {
        settings.add_filter(pattern, stands_for);
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(format!("cli_{name}"), text));
}

#[test]
fn plugins_are_listed_and_every_refusal_is_explained() {
    let cli = Cli::new();
    cli.write("plugins/README.md", "Not a plugin.\n");
    cli.write("plugins/half.so", "\u{7f}ELF and no more");
    assert_shows(
        "plugins",
        &cli.calls(&[
            &["plugins", "list"],
            &["plugins", "show", "hub-fixture-plugin"],
            &["plugins", "show", "oracle"],
            &["plugins", "doctor"],
        ]),
    );
}

#[test]
fn without_plugins_every_command_says_where_they_would_be() {
    let cli = Cli::without_plugins();
    assert_shows(
        "no_plugins",
        &cli.calls(&[
            &["plugins", "list"],
            &["plugins", "doctor"],
            &["connectors", "list"],
            &["connectors", "show", "postgres"],
        ]),
    );
}

#[test]
fn connectors_show_what_they_take() {
    let cli = Cli::new();
    assert_shows(
        "connectors",
        &cli.calls(&[
            &["connectors", "list"],
            &["connectors", "show", "fixture"],
            &["connectors", "show", "fixture@^9"],
            &["connectors", "show", "fixture", "--json-schema"],
        ]),
    );
}

#[test]
fn connection_test_shows_steps_and_ends_with_its_code() {
    let cli = Cli::new();
    cli.pipeline("both", "behaviour: good", 3);
    assert_shows(
        "check",
        &cli.calls(&[
            &["check", "both.yaml"],
            &["check", "both.yaml#destination", "--json"],
            &["check", "fixture", "--set", "behaviour=echo-secret", "--set", "password=hunter2"],
            &["check", "fixture", "--set", "behaviour=panic-in-connect"],
        ]),
    );
}

#[test]
fn preview_shows_rows_as_a_table_and_as_json() {
    let cli = Cli::new();
    cli.pipeline("some", "behaviour: good", 3);
    assert_shows(
        "preview",
        &cli.calls(&[
            &["preview", "some.yaml"],
            &["preview", "some.yaml", "--rows", "2", "--json"],
            &["preview", "some.yaml#destination"],
            &["preview", "fixture", "--option", "rows=1"],
        ]),
    );
}

#[test]
fn run_ends_with_a_summary() {
    let cli = Cli::new();
    cli.pipeline("good", "behaviour: good", 1000);
    cli.pipeline("bad", "behaviour: panic-in-read", 1000);
    assert_shows("run", &cli.calls(&[&["run", "good.yaml"], &["run", "bad.yaml"]]));
}

#[test]
fn run_with_refused_rows_that_are_kept_ends_with_its_code() {
    let cli = Cli::new();
    let make = |file: &str, statements: &str| {
        rusqlite::Connection::open(cli.path(file)).unwrap().execute_batch(statements).unwrap();
    };
    make(
        "from.db",
        "create table t (id integer primary key not null, v integer); insert into t values (1, 1), (2, 200), (3, 3)",
    );
    make("to.db", "create table t (id integer primary key not null, v integer check (v < 100))");
    let pipeline = |on_rejected: &str| {
        format!(
            "version: 1\nname: refused\nsource:\n  connector: sqlite\n  config: {{ file: from.db }}\n  options: {{ \
             table: t, cursor: [id] }}\ndestination:\n  connector: sqlite\n  config: {{ file: to.db }}\n  options: {{ \
             table: t }}\non_rejected: {on_rejected}\nretry: {{ attempts: 1 }}\n"
        )
    };
    cli.write("stop.yaml", &pipeline("stop"));
    cli.write("dead_letter.yaml", &pipeline("dead_letter"));
    let connectors = cli.environment.plugins.to_string_lossy().into_owned();
    let call =
        |file: &str| cli.call(&["run", file, "--plugin-dir", &connectors]).replace(&connectors, "[plugins]");
    let runs = format!("{}\n{}", call("stop.yaml"), call("dead_letter.yaml"));
    let letters = cli.calls(&[
        &["dead-letters", "refused"],
        &["dead-letters", "refused", "--json"],
        &["dead-letters", "refused", "--after", "1"],
        &["dead-letters", "orders"],
    ]);
    assert_shows("refused", &format!("{runs}\n{letters}"));
}

#[test]
fn run_tells_its_events_as_json_lines_and_its_failure_once() {
    let cli = Cli::new();
    cli.pipeline("good", "behaviour: good", 1000);
    cli.pipeline("bad", "behaviour: panic-in-read", 1000);
    let events = |file: &str| -> Vec<serde_json::Value> {
        let output = cli.command(&["run", file, "--json"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let good = events("good.yaml");
    assert_eq!(good.first().unwrap()["event"], "started");
    let last = good.last().unwrap();
    assert_eq!((&last["event"], &last["summary"]["rows"]), (&"finished".into(), &1000.into()));
    let bad = events("bad.yaml");
    assert_eq!(bad.last().unwrap()["event"], "failed");
    assert_eq!(bad.iter().filter(|event| event.get("error").is_some()).count(), 1, "{bad:?}");
}

#[test]
fn errors_name_the_fix() {
    let cli = Cli::new();
    cli.pipeline("good", "behaviour: good", 3);
    cli.write(
        "broken.yaml",
        "version: 1\nname: broken\nsource:\n  connector: fixtrue\n  confg: {}\ndestination: {}\n",
    );
    cli.write(
        "wrong.yaml",
        "version: 1\nname: wrong\nsource:\n  connector: fixture\n  options: { rows: many }\ndestination:\n  \
         connector: fixture\n  config: { passwort: hunter2 }\n",
    );
    cli.write(
        "unknown.yaml",
        "version: 1\nname: u\nsource: { connector: orcale }\ndestination: { connector: fixture }\n",
    );
    assert_shows(
        "errors",
        &cli.calls(&[
            &["run", "missing.yaml"],
            &["run", "broken.yaml"],
            &["run", "wrong.yaml"],
            &["run", "wrong.yaml", "--json"],
            &["run", "unknown.yaml"],
            &["run", "good.yaml", "--from", "yesterday"],
            &["check", "good.yaml#middle"],
            &["check", "good.yaml", "--set", "behaviour=good"],
            &["check", "fixture", "--set", "behaviour"],
            &["check", "fixture", "--set", "behavior=good"],
            &["check", "fixture", "--set", "behaviour=good", "--set", "behaviour=panic-in-read"],
            &["check", "fixture", "--set", "password=${env:CONNECTOR_HUB_NEVER_SET}"],
            &["preview", "fixture", "--option", "rows=many"],
            &["discover", "fixture"],
            &["rnu"],
        ]),
    );
}

#[test]
fn log_directives_that_are_none_are_told() {
    let cli = Cli::new();
    let output =
        cli.command(&["plugins", "list"]).env("CONNECTOR_HUB_LOG", "connector_hub=loud").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && told.contains("warning: `CONNECTOR_HUB_LOG` is not followed: "),
        "{told}"
    );
}

#[test]
fn secrets_are_never_shown() {
    let cli = Cli::new();
    cli.pipeline("secret", "behaviour: echo-secret, password: hunter2", 3);
    for arguments in [
        ["check", "secret.yaml", "--log-level", "trace"],
        ["preview", "secret.yaml", "--log-level", "trace"],
        ["run", "secret.yaml", "--log-level", "trace"],
        ["run", "secret.yaml", "--log-level=trace", "--json"],
        ["run", "secret.yaml", "--log-level=trace", "--log-format=json"],
    ] {
        let text = cli.call(&arguments);
        assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn help_teaches_with_examples() {
    let cli = Cli::without_plugins();
    assert_shows(
        "help",
        &cli.calls(&[
            &["--help"],
            &["run", "--help"],
            &["dead-letters", "--help"],
            &["signal", "--help"],
            &["check", "--help"],
            &["discover", "--help"],
            &["preview", "--help"],
            &["plugins", "--help"],
            &["plugins", "new", "--help"],
            &["connectors", "--help"],
            &["schema", "--help"],
        ]),
    );
}

#[test]
fn new_plugin_is_written_once_and_under_its_name() {
    let cli = Cli::without_plugins();
    assert_shows(
        "new",
        &cli.calls(&[
            &["plugins", "new", "my-database"],
            &["plugins", "new", "my-database"],
            &["plugins", "new", "My Database"],
            &["plugins", "new", "other", "--path", "elsewhere", "--api-path", "nowhere"],
        ]),
    );
    let manifest = fs::read_to_string(cli.path("my-database/Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"connector-my-database\""), "{manifest}");
}

/// Only with full amounts: it takes minutes, as a crate with a lock file of its own compiles the plugin API anew.
#[test]
fn new_plugin_conforms_builds_and_loads() {
    let cli = Cli::without_plugins();
    if !cli.environment.full {
        eprintln!("A new plugin is built with `cargo xtask test --full` only");
        return;
    }
    let api = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-api"));
    let written = cli.call(&["plugins", "new", "my-database", "--api-path", &api.to_string_lossy()]);
    assert!(written.contains("exit code 0"), "{written}");
    // The versions of the workspace, so that nothing is fetched.
    fs::copy(api.join("../Cargo.lock"), cli.path("my-database/Cargo.lock")).unwrap();
    for arguments in [["test", "--offline", "--release"], ["build", "--offline", "--release"]] {
        let mut cargo = Command::new("cargo");
        cargo.args(arguments).current_dir(cli.path("my-database")).env_remove("CARGO_TARGET_DIR");
        assert!(cargo.status().unwrap().success(), "{arguments:?}");
    }
    let built = cli.path("my-database/target/release").to_string_lossy().into_owned();
    let listed = cli.call(&["plugins", "list", "--plugin-dir", &built]);
    assert!(listed.contains("connector-my-database  0.1.0    my-database"), "{listed}");
}

#[test]
fn paths_say_what_moves_them() {
    let cli = Cli::without_plugins();
    assert_shows("paths", &cli.calls(&[&["paths"], &["paths", "--home", "elsewhere", "--json"]]));
}

#[test]
fn schema_accepts_what_the_reader_accepts_by_name() {
    let cli = Cli::new();
    let output = cli.command(&["schema"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let side = &schema["properties"]["source"]["allOf"][0]["then"]["properties"];
    assert_eq!(side["config"]["properties"]["behaviour"]["default"], "good");
    assert_eq!(schema["required"], serde_json::json!(["version", "name", "source", "destination"]));
}

#[test]
fn completions_know_the_commands() {
    let cli = Cli::without_plugins();
    for shell in ["bash", "zsh", "fish"] {
        let output = cli.command(&["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("discover") && text.contains("from-scratch"), "{shell}");
    }
}

#[test]
fn reader_that_goes_away_is_no_failure() {
    let cli = Cli::new();
    let mut child = cli
        .command(&["schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}
