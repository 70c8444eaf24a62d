//! Every way in which a file can fail to be a plugin, and every way in which a plugin can fail: what is said, and
//! that the process goes on. After each case a good plugin is loaded and read through in the same process.

mod cases;
mod patch;
mod pipelines;
mod rows;
mod stage;

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use cases::CASES;
use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use patch::Library;
use stage::Stage;

#[test]
fn every_file_ends_with_its_verdict_and_the_process_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let good_folder = tempfile::tempdir().unwrap();
    let library = Library::built();
    library.write(good_folder.path(), "good.so");
    let mut table = String::new();
    for case in CASES {
        let stage = Stage::new(&library, cache.path());
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

#[test]
fn plugin_that_takes_processes_down_is_refused_by_the_third() {
    let hub = hub_tests::Hub::new();
    let folder = hub.path("damaged");
    fs::create_dir(&folder).unwrap();
    Library::built().when_loaded("abort.").write(&folder, "damaged.so");
    let list = || {
        let arguments = ["--plugin-dir", folder.to_str().unwrap(), "connectors", "list"];
        let output = hub.command(&arguments).output().unwrap();
        (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, shown, told) = list();
    assert!(!status.success(), "{status}: {shown}{told}");
    let (status, _, told) = list();
    assert!(!status.success() && told.contains("damaged.so"), "{status}: {told}");
    for _ in 0..2 {
        let (status, shown, told) = list();
        assert!(status.success() && shown.contains("sqlite"), "{status}: {shown}{told}");
    }
    let doctor =
        hub.command(&["--plugin-dir", folder.to_str().unwrap(), "plugins", "doctor"]).output().unwrap();
    let shown = String::from_utf8(doctor.stdout).unwrap();
    assert!(shown.contains("damaged.so  refused at step `open`: Took the process down 2 times"), "{shown}");
}
