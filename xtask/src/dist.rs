//! `cargo xtask dist`: what is shipped.

use std::fs;

use crate::{Outcome, cargo, failed, licences, no_arguments, run_folder::copy_with_time};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    no_arguments("dist", arguments)?;
    let root = cargo::workspace_root();
    let connectors: Vec<String> = cargo::metadata()?
        .packages
        .into_iter()
        .filter(|package| package.folder.starts_with(root.join("plugins")))
        .map(|package| package.name)
        // The worked example is for reading.
        .filter(|name| name != "connector-example")
        .collect();
    let mut shipped = vec!["connector-hub"];
    shipped.extend(connectors.iter().map(String::as_str));

    let mut build = vec!["--profile", "dist"];
    shipped.iter().for_each(|package| build.extend(["--package", package]));
    let artifacts = cargo::build(&build)?;

    let folder = root.join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins)?;
    copy_with_time(cargo::program(&artifacts, "connector-hub")?, &folder)?;
    for connector in &connectors {
        let library = artifacts
            .iter()
            .filter(|artifact| artifact.package == *connector)
            .find_map(cargo::Artifact::shared_library);
        match library {
            Some(library) => copy_with_time(library, &plugins)?,
            None => return failed(format!("`{connector}` made no shared library")),
        };
    }
    for name in ["LICENSE", "README.md", "CHANGELOG.md"] {
        if root.join(name).is_file() {
            fs::copy(root.join(name), folder.join(name))?;
        }
    }
    fs::write(folder.join("LICENCES.txt"), licences::text(&shipped)?)?;

    println!("{}:", folder.display());
    for (label, place) in [("", folder.clone()), ("plugins/", plugins)] {
        let mut files: Vec<_> = fs::read_dir(place)?.filter_map(Result::ok).collect();
        files.sort_by_key(fs::DirEntry::file_name);
        for file in files.iter().filter(|file| file.path().is_file()) {
            let size = file.metadata()?.len() as f64 / 1_048_576.0;
            println!("  {label}{:<32} {size:>7.2} MiB", file.file_name().to_string_lossy());
        }
    }
    Ok(())
}
