//! Character sets of columns. By Query the server sends all text as UTF-8; in the log it lies as the column keeps it.
//!
//! What a byte means in a set of one byte a character is asked of the server, once.

mod several;

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    sync::Arc,
};

use hub_plugin_api::{Error, ErrorKind, Result};

use self::several::Several;

const WRONG: &str = "a text is not of its column's character set";

/// How the text of a column is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `utf8`, `ascii`.
    Utf8,
    /// `utf16` and `ucs2`.
    Utf16,
    /// `utf16le`.
    Utf16Le,
    /// `utf32`.
    Utf32,
    /// A byte is a character.
    Single(Arc<Characters>),
    /// A character has one byte or several.
    Several(&'static Several),
}

/// What each byte means; none where it means nothing.
#[derive(PartialEq, Eq)]
pub struct Characters([Option<char>; 256]);

impl Debug for Characters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Characters")
    }
}

impl Characters {
    /// From the conversion of all bytes, in order, to UTF-32 in hexadecimal digits; none for another form. The server
    /// makes a question mark of a byte that means nothing.
    pub fn of_utf32(digits: &str) -> Option<Self> {
        let mut characters = [None; 256];
        if digits.len() != 8 * characters.len() {
            return None;
        }
        for (byte, (character, digits)) in characters.iter_mut().zip(digits.as_bytes().chunks(8)).enumerate()
        {
            let point = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            *character = Some(char::from_u32(point)?).filter(|one| *one != '?' || byte == usize::from(b'?'));
        }
        Some(Self(characters))
    }
}

/// The character sets of a server.
#[derive(Clone, Debug, Default)]
pub struct Charsets {
    /// Their names, by the number of a collation.
    pub of_collations: HashMap<u16, String>,
    /// Those of one byte a character, by name.
    pub single: HashMap<String, Arc<Characters>>,
}

impl Charsets {
    /// The name of a collation's character set.
    pub fn of_collation(&self, number: u16) -> Option<&str> {
        self.of_collations.get(&number).map(String::as_str)
    }

    /// The character set of this name.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] for one that cannot be read from the log.
    pub fn named(&self, name: &str) -> Result<Charset> {
        Ok(match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Charset::Utf8,
            "utf16" | "ucs2" => Charset::Utf16,
            "utf16le" => Charset::Utf16Le,
            "utf32" => Charset::Utf32,
            other => match (Several::of(other), self.single.get(other)) {
                (Some(several), _) => Charset::Several(several),
                (None, Some(characters)) => Charset::Single(Arc::clone(characters)),
                (None, None) => return Err(unsupported(other)),
            },
        })
    }
}

fn unsupported(name: &str) -> Error {
    let message = format!("Text in character set `{name}` cannot be read from the binary log");
    Error::new(ErrorKind::UnsupportedType, message)
        .with_hint("Convert the column to `utf8mb4`, or leave its table out of `tables`")
}

impl Charset {
    /// Writes text as UTF-8. Text in [`Charset::Utf8`] is taken as it is: the array checks it.
    pub fn decode(&self, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut push = |one: char| into.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
        match self {
            Self::Utf8 => into.extend_from_slice(bytes),
            Self::Single(characters) => {
                for byte in bytes {
                    push(characters.0[usize::from(*byte)].ok_or(WRONG)?);
                }
            }
            Self::Several(several) => several.decode(bytes, into).ok_or(WRONG)?,
            Self::Utf16 | Self::Utf16Le => {
                let unit = |pair: &[u8]| match self {
                    Self::Utf16Le => u16::from_le_bytes([pair[0], pair[1]]),
                    _ => u16::from_be_bytes([pair[0], pair[1]]),
                };
                let pairs = bytes.chunks_exact(2);
                if !pairs.remainder().is_empty() {
                    return Err(WRONG);
                }
                for one in char::decode_utf16(pairs.map(unit)) {
                    push(one.map_err(|_| WRONG)?);
                }
            }
            Self::Utf32 => {
                let units = bytes.chunks_exact(4);
                if !units.remainder().is_empty() {
                    return Err(WRONG);
                }
                for unit in units {
                    let point = u32::from_be_bytes([unit[0], unit[1], unit[2], unit[3]]);
                    push(char::from_u32(point).ok_or(WRONG)?);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_utf8() {
        let mut digits: String = (0..256).map(|byte| format!("{byte:08X}")).collect();
        digits.replace_range(8 * 0x80..8 * 0x81, "000020AC");
        digits.replace_range(8 * 0x81..8 * 0x82, "0000003F");
        let latin1 = Arc::new(Characters::of_utf32(&digits).unwrap());
        let charsets = Charsets { single: HashMap::from([("latin1".into(), latin1)]), ..Charsets::default() };
        let of = |name: &str, bytes: &[u8]| {
            let mut text = Vec::new();
            let charset = charsets.named(name).unwrap();
            charset.decode(bytes, &mut text).map(|()| String::from_utf8(text).unwrap())
        };
        assert_eq!(of("latin1", &[0x80, 0xe9, b'a', b'?']).unwrap(), "€éa?");
        assert_eq!(of("utf16", &[0xd8, 0x3d, 0xde, 0x00]).unwrap(), "😀");
        assert_eq!(of("utf16le", &[0xe9, 0]).unwrap(), "é");
        assert_eq!(of("utf32", &[0, 1, 0xf6, 0]).unwrap(), "😀");
        assert_eq!(of("gbk", &[0xc4, 0xe3, b'a']).unwrap(), "你a");
        for (name, bytes) in
            [("latin1", &[0x81][..]), ("utf16", &[0xd8, 0x3d]), ("utf32", &[0, 0, 1]), ("sjis", &[0x81])]
        {
            assert!(of(name, bytes).is_err(), "{name}");
        }
        assert_eq!(charsets.named("geostd8").unwrap_err().kind, ErrorKind::UnsupportedType);
    }

    #[test]
    fn conversion_of_another_length_is_none() {
        assert!(Characters::of_utf32("00000041").is_none());
    }
}
