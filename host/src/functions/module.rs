//! What a file is, before anything of it is compiled: which world it speaks, and of which version of the contract.

use std::path::Path;

use hub_plugin_api::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

/// The package of the contract.
const PACKAGE: &str = "connector-hub:plugin/";

/// The version of the contract that this hub speaks.
pub const CONTRACT_VERSION: semver::Version = semver::Version::new(1, 0, 0);

/// The newest version that this hub takes: patches of a contract change its text only.
const NEWEST: semver::Version = semver::Version::new(1, 0, u64::MAX);

/// Custom section of a core module that carries the type of the component it wants to be.
const EMBEDDED_TYPE: &str = "component-type";

/// The form of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// A function that exports the reader interface.
    CustomFunction,
    /// A function that prints one JSON object a line.
    Command,
    /// A plugin: whole connectors.
    Connector,
}

impl World {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomFunction => "custom-function",
            Self::Command => "command",
            Self::Connector => "connector",
        }
    }
}

/// A function's file, read and understood, as a component.
#[derive(Clone, Debug)]
pub struct Module {
    /// The file's name, for messages.
    pub name: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// What it is.
    pub world: World,
    /// Names of what it imports, sorted.
    pub imports: Vec<String>,
    /// Names of what it exports, sorted.
    pub exports: Vec<String>,
    component: Vec<u8>,
}

impl Module {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when it is not a function, or one of another version of the contract.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| {
            Error::config("module", format!("The module `{}` cannot be read", path.display()))
                .with_source(&error)
        })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::from_bytes(name, bytes)
    }

    /// The same as a component.
    pub(crate) fn component(&self) -> &[u8] {
        &self.component
    }

    /// Understands the content of a file.
    ///
    /// # Errors
    /// As [`Module::read`].
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self> {
        let name = name.into();
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut surface = Surface::of(&name, &bytes)?;
        let mut component = bytes;
        if surface.is_core {
            component = wrap(&name, &component, &surface)?;
            surface = Surface::of(&name, &component)?;
        }
        let world = surface.world(&name)?;
        surface.imports.sort();
        surface.exports.sort();
        Ok(Self { name, sha256, world, imports: surface.imports, exports: surface.exports, component })
    }
}

fn refuse(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("The module `{name}` {what}")).with_field("module")
}

/// The refusal of a file that does not even begin as a module does.
fn no_module(name: &str, bytes: &[u8]) -> Error {
    let text = str::from_utf8(&bytes[..bytes.len().min(64)]).ok();
    let (what, hint) = match text.map(str::trim_start) {
        Some("") => ("it is empty", "Build or copy it again"),
        Some(text) if text.starts_with("(module") || text.starts_with("(component") => {
            ("it is its text format", "Make a binary module of it, as `wasm-tools parse` does")
        }
        Some(_) => ("it is text", "Name the compiled module, not its source"),
        None => ("it does not begin as a module does", "Name a module that was compiled for WebAssembly"),
    };
    refuse(name, format_args!("is not WebAssembly: {what}")).with_hint(hint)
}

/// The names at the outside of a module or component.
struct Surface {
    is_core: bool,
    has_embedded_type: bool,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Surface {
    fn of(name: &str, bytes: &[u8]) -> Result<Self> {
        let mut surface =
            Self { is_core: true, has_embedded_type: false, imports: Vec::new(), exports: Vec::new() };
        if !bytes.starts_with(b"\0asm") {
            return Err(no_module(name, bytes));
        }
        let broken = |error: wasmparser::BinaryReaderError| {
            refuse(name, "is not WebAssembly")
                .with_source(&error)
                .with_hint("Build or copy it again: it is damaged")
        };
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(broken)? {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if depth == 1 {
                        surface.is_core = encoding == Encoding::Module;
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section)
                    if depth == 1 && section.name().starts_with(EMBEDDED_TYPE) =>
                {
                    surface.has_embedded_type = true;
                }
                Payload::ImportSection(section) if depth == 1 => {
                    for import in section.into_imports() {
                        surface.imports.push(import.map_err(broken)?.module.to_owned());
                    }
                }
                Payload::ExportSection(section) if depth == 1 => {
                    for export in section {
                        surface.exports.push(export.map_err(broken)?.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        surface.imports.push(import.map_err(broken)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        surface.exports.push(export.map_err(broken)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        surface.imports.dedup();
        Ok(surface)
    }

    fn world(&self, name: &str) -> Result<World> {
        let ours = self.imports.iter().chain(&self.exports).filter_map(|one| one.strip_prefix(PACKAGE));
        for one in ours.clone() {
            check_version(name, one)?;
        }
        if self.exports.iter().any(|export| export.starts_with("connector-hub:plugin/reader@")) {
            return Ok(World::CustomFunction);
        }
        if self.exports.iter().any(|export| export.starts_with("connector-hub:plugin/plugin@")) {
            return Ok(World::Connector);
        }
        if self.exports.iter().any(|export| export.starts_with("wasi:cli/run@0.2.")) {
            return Ok(World::Command);
        }
        let exports = if self.exports.is_empty() { "nothing".to_owned() } else { self.exports.join(", ") };
        Err(refuse(name, format_args!("is of no world that this hub knows: it exports {exports}")).with_hint(
            "A function exports `connector-hub:plugin/reader@1.0.0`, or is a WASI command that prints NDJSON",
        ))
    }
}

/// Refuses an interface of another major version, or of a newer minor one.
fn check_version(name: &str, interface: &str) -> Result<()> {
    let version = interface.split_once('@').and_then(|(_, version)| semver::Version::parse(version).ok());
    let Some(version) = version else {
        return Err(refuse(name, format_args!("names `{PACKAGE}{interface}` without a version")));
    };
    let known = version.major == CONTRACT_VERSION.major && version <= NEWEST;
    if known {
        return Ok(());
    }
    let hint = if version > CONTRACT_VERSION {
        "Update the hub, or build the function with an older SDK"
    } else {
        "Build the function again with a newer SDK"
    };
    Err(refuse(
        name,
        format_args!("speaks version {version} of the contract; this hub speaks {CONTRACT_VERSION}"),
    )
    .with_hint(hint))
}

/// Makes a component of a core module: of a reactor that carries its type, or of a plain WASI command.
fn wrap(name: &str, bytes: &[u8], surface: &Surface) -> Result<Vec<u8>> {
    let is_command = surface.exports.iter().any(|export| export == "_start");
    if !surface.has_embedded_type && !is_command {
        return Err(refuse(name, "is a core module without the type of a component")
            .with_hint("Build it with an SDK of this project, or as a WASI command that prints NDJSON"));
    }
    let adapter = if is_command {
        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let encode = || -> Result<Vec<u8>, String> {
        let text = |error| format!("{error:#}");
        let mut encoder = ComponentEncoder::default().validate(true).module(bytes).map_err(text)?;
        if surface.imports.iter().any(|import| import == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME) {
            encoder = encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter).map_err(text)?;
        }
        encoder.encode().map_err(text)
    };
    encode().map_err(|error| refuse(name, format_args!("cannot be made a component: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_no_module_is_told_by_what_it_is() {
        for (bytes, told) in [
            (b"".as_slice(), "it is empty"),
            (b"\n(module)", "it is its text format"),
            (b"fn main() {}", "it is text"),
            (b"\x7fELF\xff\xff", "it does not begin as a module does"),
        ] {
            let error = Module::from_bytes("f.wasm", bytes.to_vec()).err().unwrap();
            assert_eq!(error.message, format!("The module `f.wasm` is not WebAssembly: {told}"));
            assert!(error.hint.is_some());
        }
        let damaged = Module::from_bytes("f.wasm", b"\0asm\x01\0\0\0\xff".to_vec()).err().unwrap();
        assert_eq!(damaged.message, "The module `f.wasm` is not WebAssembly");
    }
}
