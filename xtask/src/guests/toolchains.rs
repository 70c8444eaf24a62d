//! Finds a language's toolchain, or fetches it into the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    NoGuest,
    cache::Cache,
    packages::{Packages, in_path, output, unpack},
};

/// A toolchain that is there.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// What it calls itself.
    pub version: String,
    /// Where it lies, or where it builds.
    pub folder: PathBuf,
    /// What its programs need in the environment.
    pub environment: Vec<(String, String)>,
}

/// The target of Rust's guests.
pub(super) const RUST_TARGET: &str = "wasm32-wasip2";

/// Rust: this machine's own when it has the target, else a compiler of Debian's called by this machine's cargo.
pub(super) fn rust(cache: &Cache) -> Result<Toolchain, NoGuest> {
    let target = cache.folder("guests-rust");
    let mut environment = vec![("CARGO_TARGET_DIR".to_owned(), target.to_string_lossy().into_owned())];
    let rustc = |arguments: &[&str]| output(Command::new("rustc").args(arguments));
    let libraries = rustc(&["--print", "target-libdir", "--target", RUST_TARGET])?;
    if Path::new(libraries.trim()).is_dir() {
        let version = rustc(&["--version"])?.trim().to_owned();
        return Ok(Toolchain { version, folder: target, environment });
    }
    const PACKAGES: Packages = Packages {
        suite: Some("trixie"),
        wanted: &["rustc", "libstd-rust-dev-wasm32"],
        // The machine's own compiler of C and its libraries do for proc macros.
        without: &[
            "gcc",
            "cpp",
            "binutils",
            "libbinutils",
            "libasan",
            "libtsan",
            "liblsan",
            "libubsan",
            "libhwasan",
            "libgprofng",
            "linux-libc-dev",
            "libc6-dev",
            "libc-dev-bin",
            "libcrypt",
            "libisl",
            "libmpc",
            "libmpfr",
            "libgmp",
            "libctf",
            "libsframe",
            "libitm",
            "libquadmath",
            "libgomp",
            "libcc1",
            "libatomic",
            "libgcc-1",
            "libjansson",
            "rpcsvc",
        ],
        excluded: &["usr/share/locale", "usr/lib/rustlib/wasm32-wasip1"],
    };
    let root = cache.folder("rust-wasm");
    unpack(&PACKAGES, &root, &format!("usr/lib/rustlib/{RUST_TARGET}"))?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let [rustc_path, loader] = [root.join("usr/bin/rustc"), libraries.join("ld-linux-x86-64.so.2")];
    fs::create_dir_all(&target)?;
    // The compiler finds its libraries beside its own path, so it must believe that it was called by it.
    let wrapper = target.join("rustc");
    let text = format!(
        "#!/bin/sh\nexec '{}' --argv0 '{rustc}' --library-path '{}' '{rustc}' \"$@\"\n",
        loader.display(),
        libraries.display(),
        rustc = rustc_path.display()
    );
    write_program(&wrapper, &text)?;
    let sysroot = rustc(&["--print", "sysroot"])?;
    let linkers = Path::new(sysroot.trim()).join("lib/rustlib/x86_64-unknown-linux-gnu/bin");
    let linker = linkers.join("wasm-component-ld");
    if !linker.is_file() {
        return Err(NoGuest::Missing(format!("this machine's Rust has no linker `{}`", linker.display())));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    environment.extend([
        ("RUSTC".to_owned(), wrapper.to_string_lossy().into_owned()),
        ("PATH".to_owned(), format!("{}:{path}", linkers.display())),
        ("CARGO_TARGET_WASM32_WASIP2_LINKER".to_owned(), linker.to_string_lossy().into_owned()),
        (
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS".to_owned(),
            format!("-Clink-arg=--wasm-ld-path={}", linkers.join("gcc-ld/wasm-ld").display()),
        ),
    ]);
    let version = output(Command::new(&wrapper).arg("--version"))?.trim().to_owned();
    Ok(Toolchain { version, folder: target, environment })
}

/// Clang with the libraries of C and C++ for WASI, out of this machine's own suite of Debian.
pub(super) fn clang(cache: &Cache) -> Result<Toolchain, NoGuest> {
    const PACKAGES: Packages = Packages {
        suite: None,
        wanted: &["clang-14", "lld-14", "wasi-libc", "libclang-rt-14-dev-wasm32", "libc++-14-dev-wasm32"],
        without: &[],
        excluded: &["usr/share/locale"],
    };
    let root = cache.folder("clang-wasm");
    unpack(&PACKAGES, &root, "usr/include/wasm32-wasi/c++/v1/string")?;
    let programs = root.join("usr/lib/llvm-14/bin");
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/llvm-14/lib"].map(|folder| root.join(folder));
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = vec![
        ("PATH".to_owned(), format!("{}:{}:{path}", programs.display(), root.join("usr/bin").display())),
        ("LD_LIBRARY_PATH".to_owned(), format!("{}:{}", libraries[0].display(), libraries[1].display())),
        ("CLANG".to_owned(), programs.join("clang").to_string_lossy().into_owned()),
        ("WASI_FLAGS".to_owned(), format!("--sysroot={}", root.join("usr").display())),
    ];
    let mut command = Command::new(programs.join("clang"));
    let version =
        output(command.arg("--version").envs(environment.iter().map(|(name, value)| (name, value))))?;
    let version = version.lines().next().unwrap_or_default().to_owned();
    Ok(Toolchain { version, folder: root, environment })
}

/// Go 1.24 or newer, which has `go:wasmexport`.
pub(super) fn go(_cache: &Cache) -> Result<Toolchain, NoGuest> {
    let version = output(Command::new("go").arg("version"))?.trim().to_owned();
    let minor =
        version.split_once("go1.").and_then(|(_, rest)| rest.split(['.', ' ']).next()?.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < 24) {
        return Err(NoGuest::Missing(format!("Go 1.24 or newer is needed, and this is `{version}`")));
    }
    let environment = vec![
        ("GOFLAGS".to_owned(), "-buildvcs=false".to_owned()),
        ("GOTOOLCHAIN".to_owned(), "local".to_owned()),
    ];
    Ok(Toolchain { version, folder: super::cache::sources().join("go"), environment })
}

/// componentize-py in a virtual environment.
pub(super) fn python(cache: &Cache) -> Result<Toolchain, NoGuest> {
    const VERSION: &str = "0.25.1";
    if in_path("python3").is_none() {
        return Err(NoGuest::Missing("there is no `python3`".into()));
    }
    let folder = cache.folder(&format!("guests-python-{VERSION}"));
    let program = folder.join("bin/componentize-py");
    if !program.is_file() {
        eprintln!("guests: fetching componentize-py {VERSION} into a cache; this happens once");
        output(Command::new("python3").args(["-m", "venv"]).arg(&folder)).map_err(fetching)?;
        let mut pip = Command::new(folder.join("bin/pip"));
        output(pip.args(["install", "--quiet"]).arg(format!("componentize-py=={VERSION}")))
            .map_err(fetching)?;
    }
    Ok(Toolchain { version: format!("componentize-py {VERSION}"), folder, environment: Vec::new() })
}

/// componentize-js, as package.json names it.
pub(super) fn javascript(cache: &Cache) -> Result<Toolchain, NoGuest> {
    npm_packages(cache, "js")
}

/// The compiler of AssemblyScript, as package.json names it.
pub(super) fn assemblyscript(cache: &Cache) -> Result<Toolchain, NoGuest> {
    npm_packages(cache, "assemblyscript")
}

/// The packages that a language's package.json names, in a folder of their own.
fn npm_packages(cache: &Cache, language: &str) -> Result<Toolchain, NoGuest> {
    let text = fs::read_to_string(super::cache::sources().join(language).join("package.json"))?;
    let package: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| NoGuest::Broken(format!("`{language}/package.json`: {error}")))?;
    let named = package["devDependencies"].as_object().into_iter().flatten();
    let packages: Vec<String> =
        named.filter_map(|(name, version)| Some(format!("{name}@{}", version.as_str()?))).collect();
    if packages.is_empty() {
        return Err(NoGuest::Broken(format!("`{language}/package.json` names no versions of packages")));
    }
    if in_path("npm").is_none() || in_path("node").is_none() {
        return Err(NoGuest::Missing("there is no Node.js".into()));
    }
    let version = packages.join(", ");
    let versions: Vec<_> = packages.iter().filter_map(|package| Some(package.rsplit_once('@')?.1)).collect();
    let folder = cache.folder(&format!("guests-{language}-{}", versions.join("-")));
    if !folder.join("complete").is_file() {
        eprintln!("guests: fetching {version} into a cache; this happens once");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("package.json"), "{\"private\":true}\n")?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).args(&packages);
        output(npm.current_dir(&folder)).map_err(fetching)?;
        fs::write(folder.join("complete"), "")?;
    }
    Ok(Toolchain { version, folder, environment: Vec::new() })
}

/// A package that does not come is a toolchain that is missing.
fn fetching(error: NoGuest) -> NoGuest {
    match error {
        NoGuest::Broken(reason) | NoGuest::Missing(reason) => NoGuest::Missing(reason),
    }
}

fn write_program(path: &Path, text: &str) -> Result<(), NoGuest> {
    use std::os::unix::fs::PermissionsExt;
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
