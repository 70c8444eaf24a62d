//! Step `container`: whether a file is a whole library for this machine and system. Nothing of it runs.

use object::{
    Architecture, BinaryFormat, File, FileKind, Object, ObjectKind, ObjectSection, ObjectSegment, ReadRef,
    read::macho::{MachHeader, MachOFile},
};

use super::report::{LoadStep, Refusal};

/// What libraries of this host look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) format: BinaryFormat,
    pub(super) architecture: Architecture,
}

impl Target {
    /// The target that this host was built for.
    pub(super) const fn host() -> Self {
        let format = if cfg!(windows) {
            BinaryFormat::Pe
        } else if cfg!(target_vendor = "apple") {
            BinaryFormat::MachO
        } else {
            BinaryFormat::Elf
        };
        let architecture = if cfg!(target_arch = "x86_64") {
            Architecture::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Architecture::Aarch64
        } else if cfg!(target_arch = "x86") {
            Architecture::I386
        } else if cfg!(target_arch = "arm") {
            Architecture::Arm
        } else if cfg!(target_arch = "riscv64") {
            Architecture::Riscv64
        } else if cfg!(target_arch = "powerpc64") {
            Architecture::PowerPc64
        } else if cfg!(target_arch = "s390x") {
            Architecture::S390x
        } else {
            Architecture::Unknown
        };
        Self { format, architecture }
    }

    fn describe(self) -> String {
        format!("{} {}", system_name(self.format), machine_name(self.architecture))
    }
}

fn system_name(format: BinaryFormat) -> &'static str {
    match format {
        BinaryFormat::Elf => "Linux (ELF)",
        BinaryFormat::MachO => "macOS (Mach-O)",
        BinaryFormat::Pe => "Windows (PE)",
        _ => "an unknown system",
    }
}

fn machine_name(architecture: Architecture) -> String {
    match architecture {
        Architecture::X86_64 => "x86-64".into(),
        Architecture::I386 => "x86 (32 bits)".into(),
        Architecture::Aarch64 => "aarch64".into(),
        Architecture::Unknown => "on an unknown machine".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Whether the first bytes are those of a library of any system.
pub(super) fn starts_like_a_library(start: &[u8]) -> bool {
    start.starts_with(b"\x7fELF")
        || start.starts_with(b"MZ")
        || start.starts_with(b"\0asm")
        || matches!(start.get(..4), Some([0xfe, 0xed, 0xfa, 0xce | 0xcf] | [0xce | 0xcf, 0xfa, 0xed, 0xfe]))
        || start.starts_with(&[0xca, 0xfe, 0xba, 0xbe])
}

fn refuse(reason: impl Into<String>) -> Refusal {
    Refusal::new(LoadStep::Container, reason)
}

fn cut_off(detail: impl std::fmt::Display) -> Refusal {
    refuse(format!("Is cut off or damaged: {detail}"))
        .hint("Copy the plugin again, and compare its size and SHA-256")
}

/// A library whose every part lies inside the file.
pub(super) struct Container<'data, R: ReadRef<'data>> {
    file: File<'data, R>,
    found: String,
}

impl<'data, R: ReadRef<'data>> Container<'data, R> {
    /// Reads headers, segments and sections and compares them with `target`.
    pub(super) fn read(data: R, start: &[u8], target: Target) -> Result<Self, Refusal> {
        if !starts_like_a_library(start) {
            return Err(refuse("Is not a library")
                .hint("Plugins are shared libraries; other files need not lie here"));
        }
        if start.starts_with(b"\0asm") {
            return Err(refuse("Is a WebAssembly module, which this host cannot load as a plugin"));
        }
        let length = data.len().map_err(|()| cut_off("its length cannot be read"))?;
        match FileKind::parse(data) {
            Ok(FileKind::MachOFat32 | FileKind::MachOFat64) => {
                return Err(refuse("Is a universal macOS library, of which only one part could be loaded")
                    .hint("Take out the part for this machine (`lipo -thin`)"));
            }
            Ok(_) => {}
            Err(error) => return Err(cut_off(lower(&error))),
        }
        let file = File::parse(data).map_err(|error| cut_off(lower(&error)))?;
        let found = Target { format: file.format(), architecture: file.architecture() };
        if found.format != target.format || found.architecture != target.architecture {
            return Err(refuse(format!(
                "Is a library for {}, and this host is {}",
                found.describe(),
                target.describe()
            ))
            .hint("Get the build of the plugin for this machine"));
        }
        // 64-bit machine names come with 32-bit containers in broken files only.
        let bits = if file.is_64() { 64 } else { 32 };
        if bits != usize::BITS && target == Target::host() {
            return Err(refuse(format!("Is a library of {bits} bits, and this host has {}", usize::BITS)));
        }
        let kind_fits = match file.kind() {
            ObjectKind::Dynamic => true,
            // A macOS bundle has no kind of its own, and is what some linkers make of a plugin.
            ObjectKind::Unknown => file.format() == BinaryFormat::MachO,
            _ => false,
        };
        if !kind_fits {
            let kind = match file.kind() {
                ObjectKind::Relocatable => "an object file",
                ObjectKind::Executable => "a program",
                ObjectKind::Core => "a memory dump",
                _ => "another kind of file",
            };
            return Err(refuse(format!("Is {kind}, not a shared library")));
        }
        lies_inside(&file, length)?;
        Ok(Self { file, found: format!("{}, {length} bytes", found.describe()) })
    }

    /// What was found, in a few words.
    pub(super) fn found(&self) -> &str {
        &self.found
    }

    /// The name of the note's section in this format.
    pub(super) fn note_section(&self) -> &'static str {
        match self.file.format() {
            BinaryFormat::MachO => "__hub_note",
            BinaryFormat::Pe => ".hubnote",
            _ => ".hub_note",
        }
    }

    /// The content of the note's section.
    pub(super) fn note(&self) -> Result<Option<&'data [u8]>, Refusal> {
        let name = self.note_section();
        let mut found = self.file.sections().filter(|section| section.name_bytes() == Ok(name.as_bytes()));
        let Some(section) = found.next() else { return Ok(None) };
        section.data().map(Some).map_err(|error| cut_off(lower(&error)))
    }
}

fn lower(error: &object::read::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn lies_inside<'data, R: ReadRef<'data>>(file: &File<'data, R>, length: u64) -> Result<(), Refusal> {
    let check = |what: &dyn Fn() -> String, start: u64, bytes: u64| {
        if start.checked_add(bytes).is_some_and(|end| end <= length) {
            return Ok(());
        }
        let end = u128::from(start) + u128::from(bytes);
        Err(cut_off(format_args!("{} ends at byte {end}, and the file has {length} bytes", what())))
    };
    // Reading a Mach-O file leaves out what follows a broken load command without a word.
    let commands = match file {
        File::MachO32(file) => all_commands(file),
        File::MachO64(file) => all_commands(file),
        _ => Ok(()),
    };
    commands.map_err(|error| cut_off(lower(&error)))?;
    for (index, segment) in file.segments().enumerate() {
        let (start, bytes) = segment.file_range();
        check(&|| format!("segment {index}"), start, bytes)?;
    }
    for section in file.sections() {
        if let Some((start, bytes)) = section.file_range() {
            check(&|| format!("section `{}`", section.name().unwrap_or("?")), start, bytes)?;
        }
    }
    Ok(())
}

fn all_commands<'data, M: MachHeader, R: ReadRef<'data>>(
    file: &MachOFile<'data, M, R>,
) -> object::read::Result<()> {
    let mut commands = file.macho_load_commands()?;
    while commands.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests;
