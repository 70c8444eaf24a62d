//! What `cargo xtask test` hands over is there.

use std::fs;

use hub_tests::Environment;

#[test]
fn the_folder_of_this_run_holds_the_connectors_and_no_fixture() {
    let environment = Environment::get();
    let mut names: Vec<String> = fs::read_dir(&environment.plugins)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.contains(&"libconnector_sqlite".to_owned()), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("libconnector_")), "{names:?}");
    assert!(environment.fixture("hub_fixture_plugin").is_file());
    assert!(environment.binary.is_file() && environment.data.is_file());
}
