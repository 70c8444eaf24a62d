//! The licences of everything that is linked into what we ship, as one text.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use crate::{
    Failure, Outcome,
    cargo::{self, list, texts},
};

/// Every crate that the shipped packages need at run time, with its licence's name and text.
pub(crate) fn text(shipped: &[&str]) -> Outcome<String> {
    let metadata = cargo::metadata_json(&["--locked"])?;
    let packages: BTreeMap<&str, &serde_json::Value> =
        list(&metadata["packages"]).iter().filter_map(|p| Some((p["id"].as_str()?, p))).collect();
    let nodes: BTreeMap<&str, &serde_json::Value> =
        list(&metadata["resolve"]["nodes"]).iter().filter_map(|n| Some((n["id"].as_str()?, n))).collect();

    let is_shipped = |id: &&str| packages.get(id).is_some_and(|p| shipped.iter().any(|s| p["name"] == *s));
    let mut waiting: Vec<&str> = nodes.keys().copied().filter(is_shipped).collect();
    let mut needed = BTreeMap::new();
    while let Some(id) = waiting.pop() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else { continue };
        if needed.insert(id, *package).is_some() {
            continue;
        }
        for dependency in list(&node["deps"]) {
            // A null kind is a normal dependency; tests and build scripts are not shipped.
            let linked = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            if let (true, Some(id)) = (linked, dependency["pkg"].as_str()) {
                waiting.push(id);
            }
        }
    }

    let mut crates: Vec<_> = needed.into_values().filter(|package| !package["source"].is_null()).collect();
    crates.sort_by_key(|package| (package["name"].as_str(), package["version"].as_str()));
    let mut all = String::from("Connector Hub is made with these crates, under these licences.\n");
    for package in crates {
        let field = |name: &str| package[name].as_str().unwrap_or("unknown").to_owned();
        let rule = "=".repeat(78);
        let written = write!(all, "\n{rule}\n{} {}: {}\n", field("name"), field("version"), field("license"));
        written.map_err(|error| Failure::Failed(error.to_string()))?;
        let authors = texts(&package["authors"]);
        if !authors.is_empty() {
            all.push_str(&format!("by {}\n", authors.join(", ")));
        }
        if let Some(folder) = Path::new(&field("manifest_path")).parent() {
            for text in licence_files(folder) {
                all.push('\n');
                all.push_str(&text);
            }
        }
    }
    Ok(all)
}

/// The texts of the files in which crates keep their licences.
fn licence_files(folder: &Path) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            path.is_file()
                && ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|word| name.starts_with(word))
        })
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}
