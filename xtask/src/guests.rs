//! `cargo xtask guests`: builds the WebAssembly guests of sdk-wasm/, each by the command that its README documents.
//!
//! What is built lies in a cache outside the clone, under the hash of its sources, the contract and the toolchain's
//! version, so an unchanged guest costs nothing. Toolchains that this machine lacks are fetched into the same cache.

mod cache;
mod languages;
mod packages;
mod toolchains;

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use self::{
    cache::Cache,
    languages::{LANGUAGES, Language},
};
use crate::{Failure, Outcome, failed};

/// Why there is no guest.
#[derive(Debug)]
enum NoGuest {
    /// Its toolchain cannot be had on this machine.
    Missing(String),
    /// It does not build.
    Broken(String),
}

impl From<std::io::Error> for NoGuest {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("Input or output failed: {error}"))
    }
}

/// A guest that was built, now or before.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Its name in the tests, such as `orders-rust`.
    pub name: String,
    /// The module or component.
    pub path: PathBuf,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let unknown = arguments.iter().find(|name| !LANGUAGES.iter().any(|language| language.name == **name));
    if let Some(unknown) = unknown {
        let known: Vec<_> = LANGUAGES.iter().map(|language| language.name).collect();
        return Err(Failure::Usage(format!(
            "There is no language `{unknown}`; languages: {}",
            known.join(", ")
        )));
    }
    for guest in build(arguments)? {
        println!("{}\t{}", guest.name, guest.path.display());
    }
    Ok(())
}

/// Builds the guests of these languages; of all where none is named. One whose toolchain is missing is left out, and
/// that is a failure under `CI=true`.
pub(crate) fn build(names: &[String]) -> Outcome<Vec<Guest>> {
    let cache = Cache::open()?;
    let wanted: Vec<&Language> = LANGUAGES
        .iter()
        .filter(|language| names.is_empty() || names.iter().any(|name| name == language.name))
        .collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> =
            wanted.iter().map(|language| scope.spawn(|| build_language(&cache, language))).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    let mut guests = Vec::new();
    let mut broken = Vec::new();
    for (language, outcome) in wanted.iter().zip(outcomes) {
        match outcome {
            Ok(Ok(built)) => guests.extend(built),
            Ok(Err(NoGuest::Missing(reason))) if env::var("CI").is_ok_and(|ci| ci == "true") => {
                broken.push(format!("No guests in {}: {reason}", language.name));
            }
            Ok(Err(NoGuest::Missing(reason))) => {
                eprintln!("guests: none in {}, so tests that need one are skipped: {reason}", language.name);
            }
            Ok(Err(NoGuest::Broken(reason))) => {
                broken.push(format!("The guests in {} do not build: {reason}", language.name));
            }
            Err(_) => broken.push(format!("The build of the guests in {} panicked", language.name)),
        }
    }
    if broken.is_empty() { Ok(guests) } else { failed(broken.join("\n")) }
}

/// Copies guests into a folder, each as `NAME.wasm`, and answers what tests and benchmarks are told: `HUB_TEST_GUESTS`,
/// that folder, and `HUB_TEST_COMPILED`, where compiled code is kept from run to run.
pub(crate) fn place(guests: &[Guest], folder: &Path) -> Outcome<[(String, String); 2]> {
    fs::create_dir_all(folder)?;
    for guest in guests {
        fs::copy(&guest.path, folder.join(format!("{}.wasm", guest.name)))?;
    }
    let compiled = Cache::open()?.folder("guests-compiled");
    fs::create_dir_all(&compiled)?;
    let variable = |name: &str, path: &Path| (name.to_owned(), path.to_string_lossy().into_owned());
    Ok([variable("HUB_TEST_GUESTS", folder), variable("HUB_TEST_COMPILED", &compiled)])
}

fn build_language(cache: &Cache, language: &Language) -> Result<Vec<Guest>, NoGuest> {
    let start = Instant::now();
    let toolchain = (language.toolchain)(cache)?;
    let key = cache::key(language, &toolchain.version)?;
    let mut guests = Vec::new();
    let mut built = 0;
    for recipe in language.guests {
        let path = cache.guest(recipe.name, &key);
        if !path.is_file() {
            // Written beside and renamed, so that a build that was killed leaves nothing that looks whole.
            let part = path.with_extension(format!("part-{}", std::process::id()));
            (recipe.build)(&toolchain, &part)?;
            fs::rename(&part, &path)?;
            cache.forget_others(recipe.name, &path)?;
            built += 1;
        }
        guests.push(Guest { name: recipe.name.to_owned(), path });
    }
    if built > 0 {
        eprintln!(
            "guests: {built} in {} built in {:.0} s with {}",
            language.name,
            start.elapsed().as_secs_f64(),
            toolchain.version
        );
    }
    Ok(guests)
}
