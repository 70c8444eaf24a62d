//! Which tests belong to which area.
//!
//! An area is a folder under tests/tests. The tests of `plugins/X` belong to area X where there is one; the tests of
//! every other crate belong to `foundation`.

use crate::{
    Failure, Outcome,
    cargo::{Artifact, Metadata},
};

/// The package of the end-to-end tests.
const END_TO_END: &str = "hub-tests";
/// The area of all that needs no server.
pub(crate) const FOUNDATION: &str = "foundation";
/// The area of WebAssembly guests.
pub(crate) const WASM: &str = "wasm";

/// All areas, the foundation first.
pub(crate) fn all(metadata: &Metadata) -> Vec<String> {
    let package = metadata.packages.iter().find(|package| package.name == END_TO_END);
    let folders = package.map(|package| package.integration_tests.as_slice()).unwrap_or_default();
    let mut areas: Vec<String> = folders.iter().filter(|name| *name != FOUNDATION).cloned().collect();
    areas.sort();
    areas.insert(0, FOUNDATION.to_owned());
    areas
}

/// The wanted areas in their order; all where none is named.
pub(crate) fn select(all: &[String], wanted: &[String]) -> Outcome<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        return Err(Failure::Usage(format!("There is no area `{unknown}`; areas: {}", all.join(", "))));
    }
    Ok(all.iter().filter(|name| wanted.is_empty() || wanted.contains(name)).cloned().collect())
}

/// The area that a test program belongs to.
pub(crate) fn of<'a>(artifact: &'a Artifact, all: &'a [String]) -> &'a str {
    if artifact.package == END_TO_END && all.contains(&artifact.target) {
        return &artifact.target;
    }
    let folder = artifact.package.strip_prefix("connector-").unwrap_or_default();
    all.iter().find(|area| *area == folder).map_or(FOUNDATION, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas() -> Vec<String> {
        vec!["foundation".into(), "postgres".into()]
    }

    fn artifact(package: &str, target: &str) -> Artifact {
        Artifact {
            folder: "anywhere".into(),
            package: package.into(),
            target: target.into(),
            kinds: vec!["test".into()],
            tested: true,
            executable: None,
            files: vec![],
        }
    }

    #[test]
    fn a_connector_with_a_server_is_tested_in_its_own_area() {
        let areas = areas();
        assert_eq!(of(&artifact("connector-postgres", "connector_postgres"), &areas), "postgres");
        assert_eq!(of(&artifact("connector-sqlite", "main"), &areas), "foundation");
        assert_eq!(of(&artifact("connector-hub", "connector_hub"), &areas), "foundation");
    }

    #[test]
    fn an_end_to_end_test_belongs_to_the_area_of_its_folder() {
        let areas = areas();
        assert_eq!(of(&artifact("hub-tests", "postgres"), &areas), "postgres");
        assert_eq!(of(&artifact("hub-tests", "hub_tests"), &areas), "foundation");
    }

    #[test]
    fn an_unknown_area_is_refused_with_the_known_ones() {
        let Err(Failure::Usage(message)) = select(&areas(), &["redis".into()]) else {
            panic!("accepted");
        };
        assert_eq!(message, "There is no area `redis`; areas: foundation, postgres");
    }
}
