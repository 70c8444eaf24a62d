//! Character sets of columns. By Query the server sends all text as UTF-8; in the log it lies as the column keeps it.

use hub_plugin_api::{Error, ErrorKind, Result};

/// How the text of a column is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `utf8`, `ascii`.
    Utf8,
    /// Windows-1252, which the server calls `latin1`.
    Latin1,
    /// `utf16` and `ucs2`.
    Utf16,
    /// `utf16le`.
    Utf16Le,
    /// `utf32`.
    Utf32,
}

/// Code points of the bytes 0x80 to 0x9f. The five that Windows leaves open are the control characters themselves.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d,
    0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a,
    0x153, 0x9d, 0x17e, 0x178,
];

impl Charset {
    /// The character set of this name.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] for one that cannot be read from the log.
    pub fn of(name: &str) -> Result<Self> {
        Ok(match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Self::Utf8,
            "latin1" => Self::Latin1,
            "utf16" | "ucs2" => Self::Utf16,
            "utf16le" => Self::Utf16Le,
            "utf32" => Self::Utf32,
            other => {
                return Err(Error::new(
                    ErrorKind::UnsupportedType,
                    format!("Text in character set `{other}` cannot be read from the binary log"),
                )
                .with_hint("Convert the column to `utf8mb4`, or leave its table out of `tables`"));
            }
        })
    }

    /// Writes text as UTF-8. Text in [`Charset::Utf8`] is taken as it is: the array checks it.
    pub fn decode(self, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), &'static str> {
        const WRONG: &str = "a text is not of its column's character set";
        let mut push = |one: char| into.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
        match self {
            Self::Utf8 => into.extend_from_slice(bytes),
            Self::Latin1 => {
                for byte in bytes {
                    let point = match byte {
                        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)].into(),
                        other => u32::from(*other),
                    };
                    push(char::from_u32(point).ok_or(WRONG)?);
                }
            }
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
        let of = |name: &str, bytes: &[u8]| {
            let mut text = Vec::new();
            Charset::of(name).unwrap().decode(bytes, &mut text).map(|()| String::from_utf8(text).unwrap())
        };
        assert_eq!(of("latin1", &[0x80, 0xe9, b'a']).unwrap(), "€éa");
        assert_eq!(of("utf16", &[0xd8, 0x3d, 0xde, 0x00]).unwrap(), "😀");
        assert_eq!(of("utf16le", &[0xe9, 0]).unwrap(), "é");
        assert_eq!(of("utf32", &[0, 1, 0xf6, 0]).unwrap(), "😀");
        assert!(of("utf16", &[0xd8, 0x3d]).is_err() && of("utf32", &[0, 0, 1]).is_err());
        let error = Charset::of("big5").unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedType);
    }
}
