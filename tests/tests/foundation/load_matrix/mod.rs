//! Every way in which a file can fail to be a plugin, and every way in which a plugin can fail: what is said, and
//! that the process goes on. After each case a good plugin is loaded and read through in the same process.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod patch;
mod pipelines;
mod rows;

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use connector_hub::{
    api::{Error, Event, Result},
    plugins::{
        FileReport, LoadedConnector, LockPolicy, PluginFolder, PluginLock, Registry, RegistryOptions, Task,
        Verdict,
    },
};
use patch::Library;

/// One case: a fresh folder that it fills, a registry that it opens, and what it adds to the verdicts of the files.
struct Case {
    name: &'static str,
    run: fn(&Stage) -> String,
}

/// What a case plays on.
struct Stage {
    library: Library,
    folder: tempfile::TempDir,
    cache: std::path::PathBuf,
}

impl Stage {
    fn options(&self) -> RegistryOptions {
        let mut options = RegistryOptions::new(vec![PluginFolder::given(self.folder.path())], &self.cache);
        options.settle = Duration::from_millis(100);
        options
    }

    /// A registry whose plugins are given up soon.
    fn impatient(&self) -> Registry {
        let mut options = self.options();
        options.load_timeout = Duration::from_millis(300);
        options.grace = Some(Duration::from_millis(300));
        Registry::open(options)
    }

    fn open(&self) -> Registry {
        Registry::open(self.options())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// One file with a content that is no changed library.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path().join(name), content).unwrap();
        verdicts(&self.open())
    }

    /// One changed library.
    fn changed(&self, library: Library) -> String {
        library.write(self.path(), "plugin.so");
        verdicts(&self.open())
    }

    /// The library as it was built, and what a call through it says.
    fn call(&self, call: fn(&Registry) -> String) -> String {
        self.library.write(self.path(), "plugin.so");
        let registry = self.open();
        format!("{}{}", verdicts(&registry), call(&registry))
    }
}

fn describe(file: &FileReport) -> String {
    let name = file.path.file_name().unwrap().to_string_lossy();
    match &file.verdict {
        Verdict::Loaded => {
            let passed = file.passed.iter().map(|passed| format!("\n    {}: {}", passed.step, passed.found));
            format!("{name}: loaded{}\n", passed.collect::<String>())
        }
        Verdict::Refused(refusal) => {
            let mut text = format!("{name}: refused at step {}\n    {}\n", refusal.step, refusal.reason);
            if let Some(hint) = &refusal.hint {
                writeln!(text, "    hint: {hint}").unwrap();
            }
            if refusal.transient {
                text.push_str("    (transient)\n");
            }
            if !file.candidate {
                text.push_str("    (no candidate)\n");
            }
            text
        }
    }
}

fn verdicts(registry: &Registry) -> String {
    registry.files().iter().map(describe).collect()
}

fn told<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => format!("Ok({value:?})\n"),
        Err(error) => describe_error(&error),
    }
}

fn describe_error(error: &Error) -> String {
    let mut text = format!("{}: {error}\n", error.kind);
    if let Some(hint) = &error.hint {
        writeln!(text, "    hint: {hint}").unwrap();
    }
    text
}

fn fixture(registry: &Registry) -> LoadedConnector {
    registry.find("fixture").unwrap()
}

/// Cut to a length that depends on the whole one.
fn cut(stage: &Stage, length: impl Fn(usize) -> usize) -> String {
    let length = length(stage.library.length());
    stage.changed(stage.library.clone().first(length))
}

const CASES: &[Case] = &[
    Case {
        name: "good",
        run: |stage| stage.call(|registry| told(rows::read(&fixture(registry), "good", 1234))),
    },
    Case { name: "text file", run: |stage| stage.file("README.md", "# Plugins\n") },
    Case { name: "text named like a library", run: |stage| stage.file("plugin.so", "# Plugins\n") },
    Case { name: "empty", run: |stage| stage.file("plugin.so", "") },
    Case { name: "hidden", run: |stage| stage.file(".plugin.so.Xy12", stage.library.bytes()) },
    Case { name: "web assembly", run: |stage| stage.file("plugin.wasm", b"\0asm\x01\0\0\0") },
    Case { name: "cut inside the header", run: |stage| cut(stage, |_| 20) },
    Case { name: "cut behind the header", run: |stage| cut(stage, |_| 64) },
    Case { name: "cut behind the first page", run: |stage| cut(stage, |_| 4096) },
    Case { name: "cut in the middle", run: |stage| cut(stage, |length| length / 2) },
    Case { name: "cut by one byte", run: |stage| cut(stage, |length| length - 1) },
    Case {
        name: "cut in the middle without a section table",
        run: |stage| {
            stage.changed(stage.library.clone().without_sections().first(stage.library.length() / 20))
        },
    },
    Case { name: "no section table", run: |stage| stage.changed(stage.library.clone().without_sections()) },
    Case { name: "other machine", run: |stage| stage.changed(stage.library.clone().machine(22)) },
    Case { name: "unknown machine", run: |stage| stage.changed(stage.library.clone().machine(4242)) },
    Case { name: "program", run: |stage| stage.changed(stage.library.clone().executable()) },
    Case { name: "missing symbol", run: |stage| stage.changed(stage.library.clone().without_symbol()) },
    Case {
        name: "newer revision",
        run: |stage| stage.changed(stage.library.clone().note("\"abi_revision\":1", "\"abi_revision\":2")),
    },
    Case {
        name: "older revision",
        run: |stage| stage.changed(stage.library.clone().note("\"abi_revision\":1", "\"abi_revision\":0")),
    },
    Case {
        name: "older api loads, and what is missing is unsupported",
        run: |stage| {
            let older = stage.library.clone().note("\"api\":\"1.0.0\"", "\"api\":\"0.9.0\"");
            older.write(stage.path(), "plugin.so");
            works_without_discovery(&stage.open())
        },
    },
    Case {
        name: "newer api loads, and what is missing is unsupported",
        run: |stage| {
            let newer = stage.library.clone().note("\"api\":\"1.0.0\"", "\"api\":\"1.9.0\"");
            newer.write(stage.path(), "plugin.so");
            works_without_discovery(&stage.open())
        },
    },
    Case {
        name: "requires a newer api",
        run: |stage| {
            stage.changed(
                stage.library.clone().note("\"requires_api\":\"1.0.0\"", "\"requires_api\":\"9.0.0\""),
            )
        },
    },
    Case {
        name: "note that is no json",
        run: |stage| stage.changed(stage.library.clone().note("\"requires_api\":", "\"requires_api\";")),
    },
    Case {
        name: "note and manifest differ",
        run: |stage| stage.changed(stage.library.clone().when_loaded("other.")),
    },
    Case {
        name: "manifest contradicts itself",
        run: |stage| stage.changed(stage.library.clone().when_loaded("twice.")),
    },
    Case { name: "panic in spec", run: |stage| stage.changed(stage.library.clone().when_loaded("panic.")) },
    Case {
        name: "hang in spec",
        run: |stage| {
            stage.library.clone().when_loaded("hang..").write(stage.path(), "plugin.so");
            verdicts(&stage.impatient())
        },
    },
    Case {
        name: "panic in connect",
        run: |stage| stage.call(|registry| told(rows::read(&fixture(registry), "panic-in-connect", 1000))),
    },
    Case {
        name: "panic in read",
        run: |stage| stage.call(|registry| told(rows::read(&fixture(registry), "panic-in-read", 1000))),
    },
    Case {
        name: "panic in write",
        run: |stage| stage.call(|registry| told(rows::write(&fixture(registry), "panic-in-write"))),
    },
    Case {
        name: "panic in drop",
        run: |stage| {
            stage.call(|registry| {
                let read = told(rows::read(&fixture(registry), "panic-in-drop", 1000));
                read + &told(rows::write(&fixture(registry), "panic-in-drop"))
            })
        },
    },
    Case { name: "reader that waits is cancelled within a second", run: waiting_reader },
    Case { name: "reader that hangs is given up", run: hanging_reader },
    Case { name: "connector that hangs is refused after eight calls", run: hanging_connector },
    Case {
        name: "same file twice",
        run: |stage| {
            stage.library.write(stage.path(), "a.so");
            stage.library.write(stage.path(), "b.so");
            verdicts(&stage.open())
        },
    },
    Case {
        name: "same connector and version in two files",
        run: |stage| {
            stage.library.write(stage.path(), "a.so");
            stage.library.clone().when_loaded("good!!").write(stage.path(), "b.so");
            let registry = stage.open();
            verdicts(&registry) + &told(rows::read(&fixture(&registry), "good", 200))
        },
    },
    Case { name: "versions side by side", run: versions },
    Case {
        name: "folder in place of a file",
        run: |stage| {
            fs::create_dir(stage.path().join("plugin.so")).unwrap();
            verdicts(&stage.open())
        },
    },
    Case {
        name: "link to nothing",
        run: |stage| {
            symlink("nothing.so", stage.path().join("plugin.so")).unwrap();
            verdicts(&stage.open())
        },
    },
    Case {
        // Reading address 0 of one's own memory fails for everyone, root included.
        name: "unreadable file",
        run: |stage| {
            symlink("/proc/self/mem", stage.path().join("plugin.so")).unwrap();
            verdicts(&stage.open())
        },
    },
    Case {
        name: "world-writable folder",
        run: |stage| {
            stage.library.write(stage.path(), "plugin.so");
            fs::set_permissions(stage.path(), Permissions::from_mode(0o777)).unwrap();
            verdicts(&stage.open())
        },
    },
    Case {
        name: "world-writable file",
        run: |stage| {
            let path = stage.library.write(stage.path(), "plugin.so");
            fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
            verdicts(&stage.open())
        },
    },
    Case { name: "file still being written", run: still_being_written },
    Case { name: "newer build copied over a file that is being read through", run: copied_over },
    Case { name: "locked", run: locked },
    Case {
        name: "cache cannot be written",
        run: |stage| {
            stage.library.write(stage.path(), "plugin.so");
            let blocked = stage.path().join("cache");
            fs::write(&blocked, "a file, not a folder").unwrap();
            let mut options = stage.options();
            options.cache = blocked;
            verdicts(&Registry::open(options))
        },
    },
    Case {
        name: "nothing that is asked for",
        run: |stage| {
            stage.library.clone().first(5000).write(stage.path(), "libconnector_postgres.so");
            let registry = stage.open();
            told(registry.find("postgres")) + &told(registry.find("postgres@^1"))
        },
    },
];

fn works_without_discovery(registry: &Registry) -> String {
    let connector = fixture(registry);
    let read = told(rows::read(&connector, "good", 1000));
    let connection = rows::connect(&connector, "good").unwrap();
    let discovered = told(rows::block_on(connection.discover(&Default::default())));
    verdicts(registry) + &read + &discovered
}

fn waiting_reader(stage: &Stage) -> String {
    stage.call(|registry| {
        let connector = fixture(registry);
        let mut reader = rows::open(&connector, "wait-in-read", 1000).unwrap();
        let canceller = reader.canceller();
        let task = connector.supervisor.spawn("read", canceller, move || rows::count(&mut *reader, 0));
        thread::sleep(Duration::from_millis(100));
        assert!(!task.is_finished(), "the reader waits");
        let started = Instant::now();
        task.canceller().cancel();
        let error = told(task.wait(None));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        error
    })
}

/// A call of a reader's that blocks for good, deaf to a cancel.
fn hang_in_read(connector: &LoadedConnector) -> Task<i64> {
    let mut reader = rows::open(connector, "hang-in-read", 1000).unwrap();
    let canceller = reader.canceller();
    let task = connector.supervisor.spawn("read", canceller, move || rows::count(&mut *reader, 0));
    // A cancel before the call blocks would end it.
    thread::sleep(Duration::from_millis(100));
    assert!(!task.is_finished(), "the reader hangs");
    task
}

fn hanging_reader(stage: &Stage) -> String {
    stage.library.write(stage.path(), "plugin.so");
    let connector = fixture(&stage.impatient());
    let task = hang_in_read(&connector);
    let started = Instant::now();
    task.cancel();
    let hung = told(task.wait(None));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // One call that hangs takes nothing else with it: not even the plugin.
    hung + &told(rows::read(&connector, "good", 500))
}

fn hanging_connector(stage: &Stage) -> String {
    stage.library.write(stage.path(), "plugin.so");
    let connector = fixture(&stage.impatient());
    let mut kinds = Vec::new();
    for _ in 0..8 {
        let task = hang_in_read(&connector);
        task.cancel();
        kinds.push(task.wait(None).unwrap_err().kind);
    }
    format!("{kinds:?}\n{}", told(rows::read(&connector, "good", 500)))
}

fn versions(stage: &Stage) -> String {
    for version in ["0.1.0", "0.2.3", "1.1.0", "1.2.0"] {
        let to = format!("\"version\":\"{version}\"");
        let library = stage.library.clone().note("\"version\":\"0.1.0\"", &to);
        library.write(stage.path(), &format!("fixture-{version}.so"));
    }
    let registry = stage.open();
    let mut text = String::new();
    for requirement in
        ["fixture", "fixture@1", "fixture@^1.1", "fixture@=1.1.0", "fixture@0.2", "fixture@2", "fixtur", "@1"]
    {
        let found = registry.find(requirement).map(|connector| {
            assert_eq!(rows::read(&connector, "good", 300).unwrap(), 300);
            connector.plugin_version.to_string()
        });
        write!(text, "{requirement} → {}", told(found)).unwrap();
    }
    text
}

fn still_being_written(stage: &Stage) -> String {
    let path = stage.path().join("plugin.so");
    let (first, rest) = stage.library.bytes().split_at(stage.library.length() / 2);
    fs::write(&path, first).unwrap();
    let go_on = Arc::new(AtomicBool::new(true));
    let writing = Arc::clone(&go_on);
    let rest = rest.to_vec();
    let writer = thread::spawn(move || {
        let mut file = File::options().append(true).open(path).unwrap();
        let mut written = 0;
        while writing.load(Ordering::Relaxed) {
            file.write_all(&rest[written..=written]).unwrap();
            written += 1;
            thread::sleep(Duration::from_millis(5));
        }
        file.write_all(&rest[written..]).unwrap();
    });
    let registry = stage.open();
    let before = verdicts(&registry);
    go_on.store(false, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(registry.rescan(), "the file is whole now");
    before + &verdicts(&registry) + &told(rows::read(&fixture(&registry), "good", 100))
}

fn copied_over(stage: &Stage) -> String {
    let path = stage.library.write(stage.path(), "plugin.so");
    let registry = stage.open();
    let connector = fixture(&registry);
    let mut reader = rows::open(&connector, "good", 100_000).unwrap();
    let mut seen = 0;
    while seen < 1000 {
        if let Event::Rows(rows) = rows::block_on(reader.next(Duration::ZERO)).unwrap() {
            seen += i64::try_from(rows.batch.num_rows()).unwrap();
        }
    }
    // As `cp` does it: the same file is emptied and written again, while its code runs.
    stage
        .library
        .clone()
        .note("\"version\":\"0.1.0\"", "\"version\":\"0.2.0\"")
        .write(stage.path(), "plugin.so");
    assert!(path.is_file());
    let rest = rows::count(&mut *reader, seen).unwrap();
    assert!(registry.rescan());
    let newer = fixture(&registry);
    format!(
        "{} rows before and after\n{} → {}\n{}{}",
        seen + rest,
        connector.plugin_version,
        newer.plugin_version,
        told(rows::read(&newer, "good", 100)),
        told(rows::read(&connector, "good", 100)),
    )
}

fn locked(stage: &Stage) -> String {
    stage.library.write(stage.path(), "plugin.so");
    let registry = stage.open();
    let path = stage.path().join("plugins.lock");
    PluginLock::of(&registry.files()).write(&path).unwrap();
    let mut text = verdicts(&stage.open());
    stage.library.clone().when_loaded("good!!").write(stage.path(), "plugin.so");
    text += &verdicts(&stage.open());
    stage
        .library
        .clone()
        .note("\"version\":\"0.1.0\"", "\"version\":\"0.2.0\"")
        .write(stage.path(), "plugin.so");
    text += &verdicts(&stage.open());
    fs::write(&path, "{}").unwrap();
    text += &verdicts(&stage.open());
    let mut options = stage.options();
    options.lock = LockPolicy::File(stage.path().join("missing.lock"));
    text + &verdicts(&Registry::open(options))
}

#[test]
fn every_file_ends_with_its_verdict_and_the_process_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let good_folder = tempfile::tempdir().unwrap();
    let library = Library::built();
    library.write(good_folder.path(), "good.so");
    let mut table = String::new();
    for case in CASES {
        let stage = Stage {
            library: library.clone(),
            folder: tempfile::tempdir().unwrap(),
            cache: cache.path().to_owned(),
        };
        let told = (case.run)(&stage).replace(stage.path().to_str().unwrap(), "DIR");
        writeln!(table, "## {}\n{}", case.name, told.trim_end()).unwrap();

        let good =
            Registry::open(RegistryOptions::new(vec![PluginFolder::given(good_folder.path())], cache.path()));
        let read = rows::read(&good.find("fixture").unwrap(), "good", 1000);
        assert_eq!(read, Ok(1000), "a good plugin works after case `{}`", case.name);
        let write = rows::write(&good.find("fixture").unwrap(), "good");
        assert_eq!(write, Ok(()), "a good plugin works after case `{}`", case.name);
        table.push('\n');
    }
    let mut settings = insta::Settings::clone_current();
    for (pattern, name) in [
        (cache.path().to_str().unwrap(), "CACHE"),
        (r"[0-9a-f]{64}", "SHA256"),
        (r"\d+ bytes", "N bytes"),
        (r"byte \d+", "byte N"),
        (r"x86-64|aarch64", "MACHINE"),
        (r"\.rs:\d+:\d+", ".rs:LINE"),
    ] {
        settings.add_filter(pattern, name);
    }
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("load_matrix", table));
}

#[test]
fn file_without_read_permission_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = Library::built().write(folder.path(), "plugin.so");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        eprintln!(
            "skipped: this user reads every file (root); the load matrix has a file that nobody can read"
        );
        return;
    }
    let registry =
        Registry::open(RegistryOptions::new(vec![PluginFolder::given(folder.path())], folder.path()));
    let refusal = registry.files()[0].refusal().cloned().unwrap();
    assert_eq!(refusal.reason, "Cannot be read: Permission denied (os error 13)");
    assert!(refusal.hint.unwrap().contains("chmod a+r"));
}

#[test]
fn file_dropped_in_while_the_hub_runs_is_picked_up() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plugins = folder.path().join("made later");
    let mut options = RegistryOptions::new(vec![PluginFolder::given(&plugins)], cache.path());
    options.settle = Duration::from_millis(100);
    let registry = Registry::open(options);
    assert!(registry.folders()[0].problem.is_some());
    let (sender, changes) = std::sync::mpsc::channel();
    let watch = registry.watch(move |_| sender.send(()).unwrap()).unwrap();
    let wait_for = |what: &str, done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:#?}", registry.files());
            let _ = changes.recv_timeout(Duration::from_millis(200));
        }
    };

    fs::create_dir(&plugins).unwrap();
    fs::set_permissions(&plugins, Permissions::from_mode(0o755)).unwrap();
    let library = Library::built();
    library.write(&plugins, "plugin.so");
    wait_for("the plugin is found", &|| registry.find("fixture@=0.1.0").is_ok());
    let first = registry.find("fixture").unwrap();

    library.note("\"version\":\"0.1.0\"", "\"version\":\"0.2.0\"").write(&plugins, "plugin.so");
    wait_for("the newer build is found", &|| registry.find("fixture@=0.2.0").is_ok());
    assert!(registry.find("fixture@=0.1.0").is_err(), "its file is gone");
    assert_eq!(rows::read(&first, "good", 500), Ok(500), "what was found before goes on");

    fs::remove_file(plugins.join("plugin.so")).unwrap();
    wait_for("the plugin is gone", &|| registry.find("fixture").is_err());
    drop(watch);
}
