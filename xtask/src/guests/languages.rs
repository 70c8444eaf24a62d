//! Every guest, and how it is built.

use std::{fs, path::Path, process::Command};

use super::{
    NoGuest,
    cache::{Cache, copy_sources, sources},
    packages::output,
    toolchains::{self, RUST_TARGET, Toolchain},
};

/// A language: its folder under sdk-wasm/, its toolchain, its guests.
pub(super) struct Language {
    pub name: &'static str,
    pub folder: &'static str,
    pub toolchain: fn(&Cache) -> Result<Toolchain, NoGuest>,
    pub guests: &'static [Recipe],
}

/// A guest and its build into a file.
pub(super) struct Recipe {
    pub name: &'static str,
    pub build: fn(&Toolchain, &Path) -> Result<(), NoGuest>,
}

/// All of them.
pub(super) const LANGUAGES: &[Language] = &[
    Language {
        name: "rust",
        folder: "rust",
        toolchain: toolchains::rust,
        guests: &[
            Recipe { name: "orders-rust", build: |toolchain, out| rust(toolchain, "orders", out) },
            Recipe { name: "members", build: |toolchain, out| rust(toolchain, "members", out) },
            Recipe { name: "web-lines", build: |toolchain, out| rust(toolchain, "web-lines", out) },
            Recipe { name: "session", build: |toolchain, out| rust(toolchain, "session", out) },
            Recipe { name: "hostile", build: |toolchain, out| rust(toolchain, "hostile", out) },
            Recipe { name: "bench", build: |toolchain, out| rust(toolchain, "bench", out) },
            Recipe { name: "bench-lines", build: |toolchain, out| rust(toolchain, "bench-lines", out) },
        ],
    },
    Language {
        name: "c",
        folder: "c",
        toolchain: toolchains::clang,
        guests: &[
            Recipe { name: "orders-c", build: |toolchain, out| c(toolchain, "example/orders.c", out) },
            Recipe { name: "lines-c", build: |toolchain, out| c_program(toolchain, "example/lines.c", out) },
            Recipe {
                name: "lines-cpp",
                build: |toolchain, out| cpp_program(toolchain, "example/lines.cpp", out),
            },
        ],
    },
    Language {
        name: "assemblyscript",
        folder: "assemblyscript",
        toolchain: toolchains::assemblyscript,
        guests: &[Recipe { name: "lines-assemblyscript", build: assemblyscript }],
    },
    Language {
        name: "go",
        folder: "go",
        toolchain: toolchains::go,
        guests: &[
            Recipe { name: "orders-go", build: |toolchain, out| go(toolchain, &["./example/orders"], out) },
            Recipe {
                name: "lines-go",
                build: |toolchain, out| go(toolchain, &["-command", "./example/lines"], out),
            },
        ],
    },
    Language {
        name: "python",
        folder: "python",
        toolchain: toolchains::python,
        guests: &[Recipe { name: "orders-python", build: |toolchain, out| python(toolchain, "orders", out) }],
    },
    Language {
        name: "js",
        folder: "js",
        toolchain: toolchains::javascript,
        guests: &[Recipe {
            name: "orders-js",
            build: |toolchain, out| javascript(toolchain, "example/orders.js", out),
        }],
    },
];

/// The documented command: `cargo build --release --target wasm32-wasip2`.
fn rust(toolchain: &Toolchain, package: &str, out: &Path) -> Result<(), NoGuest> {
    let folder = sources().join("rust");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", RUST_TARGET, "-p", package]);
    run(cargo.current_dir(folder), toolchain)?;
    // Cargo writes dashes of a library's name as underscores.
    let names = [package.to_owned(), package.replace('-', "_")];
    let release = toolchain.folder.join(RUST_TARGET).join("release");
    let built = names.iter().map(|name| release.join(format!("{name}.wasm"))).find(|file| file.is_file());
    let Some(built) = built else {
        return Err(NoGuest::Broken(format!("Cargo made no `{package}.wasm` in `{}`", release.display())));
    };
    fs::copy(built, out)?;
    Ok(())
}

/// The documented command: `build.sh FUNCTION.c OUT.wasm`.
fn c(toolchain: &Toolchain, source: &str, out: &Path) -> Result<(), NoGuest> {
    let folder = sources().join("c");
    run(Command::new("sh").arg("build.sh").arg(source).arg(out).current_dir(folder), toolchain)
}

/// A plain program: `clang --target=wasm32-wasi --sysroot=/usr -O2 -s PROGRAM.c -o OUT.wasm`.
fn c_program(toolchain: &Toolchain, source: &str, out: &Path) -> Result<(), NoGuest> {
    program(toolchain, "exec \"$CLANG\" --target=wasm32-wasi $WASI_FLAGS", source, out)
}

/// The same in C++: `clang++ --target=wasm32-wasi --sysroot=/usr -fno-exceptions -O2 -s PROGRAM.cpp -o OUT.wasm`.
fn cpp_program(toolchain: &Toolchain, source: &str, out: &Path) -> Result<(), NoGuest> {
    program(toolchain, "exec \"$CLANG++\" --target=wasm32-wasi $WASI_FLAGS -fno-exceptions", source, out)
}

fn program(toolchain: &Toolchain, compiler: &str, source: &str, out: &Path) -> Result<(), NoGuest> {
    let line = format!("{compiler} -O2 -s -Wall -Wextra \"$0\" -o \"$1\"");
    let mut clang = Command::new("sh");
    run(clang.args(["-c", &line, source]).arg(out).current_dir(sources().join("c")), toolchain)
}

/// The documented command: `npm run build`.
fn assemblyscript(toolchain: &Toolchain, out: &Path) -> Result<(), NoGuest> {
    let copy = work(toolchain, "assemblyscript")?;
    // The compiler's options name the shim below the sources.
    let packages = copy.join("node_modules");
    if !packages.exists() {
        std::os::unix::fs::symlink(toolchain.folder.join("node_modules"), packages)?;
    }
    run(Command::new("npm").args(["run", "--silent", "build"]).current_dir(&copy), toolchain)?;
    fs::copy(copy.join("lines.wasm"), out)?;
    Ok(())
}

/// The documented command: `go run connector-hub/guest/cmd/build -o OUT.wasm PACKAGE`.
fn go(toolchain: &Toolchain, arguments: &[&str], out: &Path) -> Result<(), NoGuest> {
    let mut go = Command::new("go");
    go.args(["run", "connector-hub/guest/cmd/build", "-o"]).arg(out).args(arguments);
    run(go.current_dir(&toolchain.folder), toolchain)
}

/// The documented command:
/// `componentize-py -d ../wit/1.0 -w custom-function componentize -p . -p example MODULE -o OUT.wasm`.
fn python(toolchain: &Toolchain, module: &str, out: &Path) -> Result<(), NoGuest> {
    let copy = work(toolchain, "python")?;
    let mut build = Command::new(toolchain.folder.join("bin/componentize-py"));
    build.args([
        "-d",
        "../wit/1.0",
        "-w",
        "custom-function",
        "componentize",
        "-p",
        ".",
        "-p",
        "example",
        module,
    ]);
    run(build.arg("-o").arg(out).current_dir(copy), toolchain)
}

/// The documented command: `node build.js FUNCTION.js OUT.wasm`.
fn javascript(toolchain: &Toolchain, source: &str, out: &Path) -> Result<(), NoGuest> {
    let copy = work(toolchain, "js")?;
    run(Command::new("node").args(["build.js", source]).arg(out).current_dir(copy), toolchain)
}

/// A copy of the sources and the contract, as these tools write beside what they read. Node finds its packages above.
fn work(toolchain: &Toolchain, folder: &str) -> Result<std::path::PathBuf, NoGuest> {
    let work = toolchain.folder.join("work");
    copy_sources("wit", &work)?;
    copy_sources(folder, &work)?;
    Ok(work.join(folder))
}

fn run(command: &mut Command, toolchain: &Toolchain) -> Result<(), NoGuest> {
    // What cargo tells this program is about another workspace.
    let strangers =
        ["CARGO", "RUSTC", "RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    strangers.iter().for_each(|name| {
        command.env_remove(name);
    });
    output(command.envs(toolchain.environment.iter().map(|(name, value)| (name, value)))).map(drop)
}
