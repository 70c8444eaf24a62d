//! The table: every case with what it does.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use connector_hub::{
    api::Event,
    plugins::{LoadedConnector, LockPolicy, PluginLock, Registry, Task},
};

use super::{
    rows,
    stage::{Stage, fixture, told, verdicts},
};

/// One case: a fresh folder that it fills, a registry that it opens, and what it adds to the verdicts of the files.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Stage) -> String,
}

/// Cut to a length that depends on the whole one.
fn cut(stage: &Stage, length: impl Fn(usize) -> usize) -> String {
    let length = length(stage.library.length());
    stage.changed(stage.library.clone().first(length))
}

/// A length inside the second segment. What lies behind the segments differs from build to build.
const IN_THE_CODE: usize = 2 << 20;

/// In the order of the snapshot.
pub const CASES: &[Case] = &[
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
        run: |stage| stage.changed(stage.library.clone().without_sections().first(IN_THE_CODE)),
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
    // Long enough for a byte to come on a machine that is busy with other things.
    let mut options = stage.options();
    options.settle = Duration::from_secs(1);
    let registry = Registry::open(options);
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
