//! Other builds of the fixture plugin, made by changing bytes of the one that was built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hub_tests::Environment;

/// The fixture plugin's bytes, to be changed and written.
#[derive(Clone)]
pub struct Library(Vec<u8>);

impl Library {
    /// As it was built.
    pub fn built() -> Self {
        Self(fs::read(Environment::get().fixture("hub_fixture_plugin")).unwrap())
    }

    /// Where `text` begins, everywhere.
    fn places(&self, text: &str) -> Vec<usize> {
        let windows = self.0.windows(text.len()).enumerate();
        windows.filter(|(_, window)| *window == text.as_bytes()).map(|(place, _)| place).collect()
    }

    fn put(mut self, place: usize, bytes: &[u8]) -> Self {
        self.0[place..place + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Changes a text of the note to one of the same length.
    pub fn note(self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len(), "`{from}` and `{to}` must have one length");
        let start = self.places("{\"connector_hub_note\":1,\"abi_revision\":");
        assert_eq!(start.len(), 1, "there is one note");
        let inside = self.places(from).into_iter().find(|place| *place > start[0] && *place < start[0] + 300);
        let place = inside.unwrap_or_else(|| panic!("the note holds no `{from}`"));
        self.put(place, to.as_bytes())
    }

    /// Changes what the plugin does while it is loaded; see `tests/fixture/src/behaviour.rs`.
    pub fn when_loaded(self, what: &str) -> Self {
        let mark = "hub-fixture-when-loaded:";
        let places = self.places(mark);
        assert_eq!(places.len(), 1, "there is one mark");
        assert_eq!(what.len(), 6);
        self.put(places[0] + mark.len(), what.as_bytes())
    }

    /// Says that it is for another machine (ELF header, `e_machine`).
    pub fn machine(self, machine: u16) -> Self {
        self.put(18, &machine.to_le_bytes())
    }

    /// Says that it is a program with fixed addresses (ELF header, `e_type`).
    pub fn executable(self) -> Self {
        self.put(16, &2_u16.to_le_bytes())
    }

    /// Takes away the section table, as some strippers do (ELF header, `e_shoff`, `e_shnum`, `e_shstrndx`).
    pub fn without_sections(self) -> Self {
        self.put(0x28, &[0; 8]).put(0x3c, &[0; 4])
    }

    /// Renames the exported symbol.
    pub fn without_symbol(mut self) -> Self {
        let symbol = "_1as_0lib_1header_0root_bmodule_bloader";
        let places = self.places(symbol);
        assert!(!places.is_empty());
        for place in places {
            self = self.put(place, b"_2");
        }
        self
    }

    /// Only the first bytes.
    pub fn first(mut self, bytes: usize) -> Self {
        self.0.truncate(bytes);
        self
    }

    pub fn length(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, &self.0).unwrap();
        path
    }
}
