//! Mach-O and PE libraries made by hand: they are parsed here, and have never been run.

use super::*;

const NOTE: &[u8] = b"{\"connector_hub_note\":1,\"abi_revision\":1}";
const MAC: Target = Target { format: BinaryFormat::MachO, architecture: Architecture::Aarch64 };
const WINDOWS: Target = Target { format: BinaryFormat::Pe, architecture: Architecture::X86_64 };
const LINUX: Target = Target { format: BinaryFormat::Elf, architecture: Architecture::X86_64 };

/// Little-endian fields one after another.
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn name(mut self, name: &str, width: usize) -> Self {
        self.0.extend(name.bytes().chain(std::iter::repeat(0)).take(width));
        self
    }

    fn zeroes(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    fn note(mut self) -> Vec<u8> {
        self.0.extend(NOTE);
        self.0
    }
}

/// A 64-bit ARM library with one segment and one section. Fields as in Apple's `mach-o/loader.h`.
fn mac_library(section: &str, file_type: u32) -> Vec<u8> {
    let (offset, length) = (32 + 72 + 80, NOTE.len() as u64);
    Bytes(Vec::new())
        // mach_header_64: magic, CPU type and subtype, file type, number and size of commands, flags, reserved.
        .u32(0xfeed_facf)
        .u32(0x0100_000c)
        .u32(0)
        .u32(file_type)
        .u32(1)
        .u32(72 + 80)
        .u32(0)
        .u32(0)
        // segment_command_64: command, size, name, address, size, file offset and size, protections, sections, flags.
        .u32(0x19)
        .u32(72 + 80)
        .name("__DATA", 16)
        .u64(0x4000)
        .u64(0x4000)
        .u64(offset)
        .u64(length)
        .u32(3)
        .u32(3)
        .u32(1)
        .u32(0)
        // section_64: names, address, size, offset, alignment, relocations, flags, reserved.
        .name(section, 16)
        .name("__DATA", 16)
        .u64(0x4000)
        .u64(length)
        .u32(u32::try_from(offset).unwrap())
        .zeroes(28)
        .note()
}

/// A 64-bit x86 library with one section. Fields as in Microsoft's PE format specification.
fn windows_library(characteristics: u16) -> Vec<u8> {
    let (offset, length) = (64 + 4 + 20 + 240 + 40, u32::try_from(NOTE.len()).unwrap());
    Bytes(b"MZ".to_vec())
        .zeroes(58)
        .u32(64)
        .name("PE", 4)
        // COFF header: machine, sections, time, symbols, size of the optional header, characteristics.
        .u16(0x8664)
        .u16(1)
        .zeroes(12)
        .u16(240)
        .u16(characteristics)
        // Optional header: magic, much that nothing here reads, number of data directories, and these.
        .u16(0x020b)
        .zeroes(106)
        .u32(16)
        .zeroes(128)
        // Section header: name, size and address in memory, size and offset in the file, relocations, flags.
        .name(".hubnote", 8)
        .u32(length)
        .u32(0x1000)
        .u32(length)
        .u32(offset)
        .zeroes(16)
        .note()
}

const DLL: u16 = 0x2022;
const MH_DYLIB: u32 = 6;

fn note_of(bytes: &[u8], target: Target) -> Result<Option<Vec<u8>>, String> {
    let start = &bytes[..bytes.len().min(64)];
    Container::read(bytes, start, target)
        .and_then(|container| container.note().map(|note| note.map(<[u8]>::to_vec)))
        .map_err(|refusal| refusal.reason)
}

#[test]
fn note_is_found_in_every_format() {
    assert_eq!(note_of(&mac_library("__hub_note", MH_DYLIB), MAC), Ok(Some(NOTE.to_vec())));
    assert_eq!(note_of(&windows_library(DLL), WINDOWS), Ok(Some(NOTE.to_vec())));
    assert_eq!(note_of(&mac_library("__data", MH_DYLIB), MAC), Ok(None));
}

#[test]
fn libraries_of_other_systems_are_refused_by_name() {
    assert_eq!(
        note_of(&mac_library("__hub_note", MH_DYLIB), LINUX).unwrap_err(),
        "Is a library for macOS (Mach-O) aarch64, and this host is Linux (ELF) x86-64"
    );
    assert_eq!(
        note_of(&windows_library(DLL), LINUX).unwrap_err(),
        "Is a library for Windows (PE) x86-64, and this host is Linux (ELF) x86-64"
    );
    let intel = Target { architecture: Architecture::X86_64, ..MAC };
    assert_eq!(
        note_of(&mac_library("__hub_note", MH_DYLIB), intel).unwrap_err(),
        "Is a library for macOS (Mach-O) aarch64, and this host is macOS (Mach-O) x86-64"
    );
}

#[test]
fn files_that_are_no_libraries_are_refused() {
    const PROGRAM: u16 = 0x0022;
    const MH_EXECUTE: u32 = 2;
    assert_eq!(
        note_of(&windows_library(PROGRAM), WINDOWS).unwrap_err(),
        "Is a program, not a shared library"
    );
    assert_eq!(
        note_of(&mac_library("__hub_note", MH_EXECUTE), MAC).unwrap_err(),
        "Is a program, not a shared library"
    );
    let universal = [&0xcafe_babe_u32.to_be_bytes()[..], &[0; 60]].concat();
    assert_eq!(
        note_of(&universal, MAC).unwrap_err(),
        "Is a universal macOS library, of which only one part could be loaded"
    );
    assert_eq!(note_of(b"", LINUX).unwrap_err(), "Is not a library");
    assert_eq!(note_of(b"#!/bin/sh\n", LINUX).unwrap_err(), "Is not a library");
}

#[test]
fn every_shorter_file_is_refused() {
    for (whole, target) in [(mac_library("__hub_note", MH_DYLIB), MAC), (windows_library(DLL), WINDOWS)] {
        for length in 0..whole.len() {
            let verdict = note_of(&whole[..length], target);
            assert!(verdict.is_err(), "{length} of {} bytes: {verdict:?}", whole.len());
        }
    }
}

#[test]
fn bytes_that_are_changed_anywhere_never_panic() {
    for (whole, target) in [(mac_library("__hub_note", MH_DYLIB), MAC), (windows_library(DLL), WINDOWS)] {
        for place in 0..whole.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = value;
                let _ = note_of(&bytes, target);
            }
        }
    }
}
