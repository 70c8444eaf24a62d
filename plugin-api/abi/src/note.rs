//! The note: JSON text in a section of the library, which the host reads before it runs any code of the plugin.

/// What the note begins with; also what the host looks for where an object format keeps no section names.
pub const NOTE_PREFIX: &str = "{\"connector_hub_note\":1,";
/// What the note ends with.
pub const NOTE_SUFFIX: &str = "}";

/// The parts of a note, put together at compile time by the export macro.
#[derive(Clone, Copy)]
pub struct Note {
    /// The version of the plugin API that the plugin was built with (semver).
    pub api: &'static str,
    /// The oldest version of the plugin API that the plugin can work with (semver).
    pub requires_api: &'static str,
    /// The plugin's id: the package's name.
    pub plugin: &'static str,
    /// The plugin's version (semver).
    pub version: &'static str,
    /// The ids of its connectors.
    pub connectors: &'static [&'static str],
}

impl Note {
    const fn piece(&self, index: usize) -> &'static str {
        match index {
            0 => NOTE_PREFIX,
            1 => "\"abi_revision\":1,\"api\":\"",
            2 => self.api,
            3 => "\",\"requires_api\":\"",
            4 => self.requires_api,
            5 => "\",\"plugin\":\"",
            6 => self.plugin,
            7 => "\",\"version\":\"",
            8 => self.version,
            9 => "\",\"connectors\":[",
            _ => "",
        }
    }
}

const PIECES: usize = 10;

/// The length of the note's text in bytes.
pub const fn note_length(note: &Note) -> usize {
    let mut length = 0;
    let mut index = 0;
    while index < PIECES {
        length += note.piece(index).len();
        index += 1;
    }
    let mut connector = 0;
    while connector < note.connectors.len() {
        length += note.connectors[connector].len() + 3;
        connector += 1;
    }
    // One comma fewer than connectors, and the closing bracket.
    length - (if note.connectors.is_empty() { 0 } else { 1 }) + 1 + NOTE_SUFFIX.len()
}

/// The note's text. `N` is [`note_length`].
pub const fn note_bytes<const N: usize>(note: &Note) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    let mut index = 0;
    while index < PIECES {
        at = put(&mut bytes, at, note.piece(index));
        index += 1;
    }
    let mut connector = 0;
    while connector < note.connectors.len() {
        at = put(&mut bytes, at, if connector == 0 { "\"" } else { ",\"" });
        at = put(&mut bytes, at, note.connectors[connector]);
        at = put(&mut bytes, at, "\"");
        connector += 1;
    }
    at = put(&mut bytes, at, "]");
    at = put(&mut bytes, at, NOTE_SUFFIX);
    assert!(at == N, "the note fills its bytes");
    bytes
}

const fn put<const N: usize>(bytes: &mut [u8; N], mut at: usize, text: &str) -> usize {
    let text = text.as_bytes();
    let mut index = 0;
    while index < text.len() {
        assert!(text[index] != b'\\' && text[index] >= b' ', "a note holds plain text only");
        bytes[at] = text[index];
        at += 1;
        index += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: Note = Note {
        api: "1.0.0",
        requires_api: "1.0.0",
        plugin: "demo",
        version: "0.1.0",
        connectors: &["one", "two"],
    };
    static BYTES: [u8; note_length(&NOTE)] = note_bytes(&NOTE);

    #[test]
    fn note_is_json_text() {
        assert_eq!(
            std::str::from_utf8(&BYTES).unwrap(),
            "{\"connector_hub_note\":1,\"abi_revision\":1,\"api\":\"1.0.0\",\"requires_api\":\"1.0.0\",\
             \"plugin\":\"demo\",\"version\":\"0.1.0\",\"connectors\":[\"one\",\"two\"]}"
        );
    }
}
