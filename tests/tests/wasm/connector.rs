//! Components in the plugin folder.

use std::{fs, path::Path};

use hub_tests::{Hub, skip};

use crate::guests::{guest, hub};

/// The folder of a hub of its own, with one file in it.
fn folder_with(hub: &Hub, name: &str, bytes: &[u8]) -> String {
    let folder = hub.path("components");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
    folder.to_string_lossy().into_owned()
}

#[test]
fn function_in_a_plugin_folder_is_told_where_it_belongs() {
    let Some(module) = guest("orders-rust") else { return skip("The Rust guest was not built") };
    let hub = hub();
    let folder = folder_with(&hub, "orders.wasm", &fs::read(module).unwrap());
    let doctor = hub.call(&["plugins", "doctor", "--plugin-dir", &folder]);
    assert_eq!(doctor.status.code(), Some(1));
    for expected in [
        "orders.wasm  refused at step `container`: Is a custom function, not a plugin",
        "Name it in the option `module` of the strategy `custom-function`",
    ] {
        assert!(doctor.stdout.contains(expected), "`{expected}` is not in\n{}", doctor.stdout);
    }
}

#[test]
fn damaged_component_is_refused_with_its_reason() {
    let hub = hub();
    let folder = folder_with(&hub, "cut.wasm", b"\0asm\x0d\0\x01\0\x07");
    let doctor = hub.call(&["plugins", "doctor", "--plugin-dir", &folder]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(
        doctor.stdout.contains(
            "cut.wasm  refused at step `container`: Cannot be used: The module `cut.wasm` is not WebAssembly"
        ),
        "{}",
        doctor.stdout
    );
}

#[test]
fn pipelines_do_not_know_what_kind_of_plugin_they_move_rows_through() {
    fn look(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap().to_lowercase();
            for word in ["wasm", "native"] {
                assert!(!text.contains(word), "`{word}` stands in {}", path.display());
            }
        }
    }
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/pipeline"));
}
