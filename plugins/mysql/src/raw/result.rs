//! What the server answers: OK, error, columns, rows.

use hub_plugin_api::{Error, Result};

use crate::error;

/// What is left of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Little-endian.
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Up to the next NUL, which is taken too.
    pub fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    /// A length-encoded integer.
    #[inline]
    pub fn integer(&mut self) -> Option<u64> {
        Some(match self.u8()? {
            small @ 0..=250 => small.into(),
            0xfc => self.u16()?.into(),
            0xfd => {
                let bytes = self.take(3)?;
                u64::from(bytes[0]) | u64::from(bytes[1]) << 8 | u64::from(bytes[2]) << 16
            }
            0xfe => u64::from_le_bytes(self.take(8)?.try_into().ok()?),
            _ => return None,
        })
    }

    /// Bytes behind their length.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.integer()?).ok()?;
        self.take(length)
    }

    /// A field of a row: `Some(None)` is null, `None` is no field.
    #[inline]
    pub fn field(&mut self) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&0xfb) {
            self.0 = &self.0[1..];
            return Some(None);
        }
        self.bytes().map(Some)
    }
}

/// A statement that gave no rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that the statement found, whether they changed or not.
    pub affected: u64,
    /// Warnings that `SHOW WARNINGS` lists.
    pub warnings: u16,
    /// The server's own summary.
    pub info: String,
    /// Another result follows.
    pub more: bool,
}

/// Status bit: another result follows.
const MORE_RESULTS: u16 = 8;

impl Done {
    /// Reads an OK packet, whatever its first byte, or the EOF packet that ends a stream of the binary log whatever was
    /// agreed on.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Protocol`].
    pub fn read(payload: &[u8]) -> Result<Self> {
        if let [0xfe, first, second, low, high] = *payload {
            return Ok(Self {
                warnings: u16::from_le_bytes([first, second]),
                more: u16::from_le_bytes([low, high]) & MORE_RESULTS != 0,
                ..Self::default()
            });
        }
        let read = || {
            let mut reader = Reader(payload.get(1..)?);
            let affected = reader.integer()?;
            reader.integer()?;
            let status = reader.u16()?;
            let warnings = reader.u16()?;
            let info = String::from_utf8_lossy(reader.0).into_owned();
            Some(Self { affected, warnings, info, more: status & MORE_RESULTS != 0 })
        };
        read().ok_or_else(|| error::protocol("an OK packet is too short"))
    }
}

/// Whether a payload is an error.
#[inline]
pub fn is_error(payload: &[u8]) -> bool {
    payload.first() == Some(&0xff)
}

/// Whether a payload ends the rows of a result. A row that starts with this byte has a field of 16 MiB or more.
#[inline]
pub fn is_end(payload: &[u8]) -> bool {
    payload.first() == Some(&0xfe) && payload.len() < 0xff_ffff
}

/// The error of an error packet.
pub fn server_error(doing: &str, payload: &[u8]) -> Error {
    let mut reader = Reader(payload.get(1..).unwrap_or_default());
    let code = reader.u16().unwrap_or_default();
    let sqlstate = match reader.0.first() {
        Some(b'#') => {
            reader.take(6).and_then(|state| std::str::from_utf8(&state[1..]).ok()).unwrap_or_default()
        }
        _ => "",
    };
    error::from_server(doing, code, sqlstate, &String::from_utf8_lossy(reader.0))
}

/// How a result's column is described (MySQL internals manual, "Column Definition").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Of the table, where the column is one's.
    pub schema: String,
    /// The table's own name.
    pub table: String,
    /// What the statement calls it.
    pub name: String,
    /// What the table calls it.
    pub column: String,
    /// The number of the collation; 63 is binary.
    pub collation: u16,
    /// The most bytes of a value.
    pub length: u32,
    /// The number of the type.
    pub type_code: u8,
    /// NOT NULL, unsigned …
    pub flags: u16,
    /// Digits behind the point or the second; 31 where there is no limit.
    pub decimals: u8,
    /// MariaDB's own name of the type, such as `uuid`.
    pub extended_type: Option<String>,
    /// MariaDB's own name of what a text holds, such as `json`.
    pub extended_format: Option<String>,
}

/// Bits of [`ColumnDefinition::flags`].
pub mod flag {
    /// Never null.
    pub const NOT_NULL: u16 = 1;
    /// Numbers without a sign.
    pub const UNSIGNED: u16 = 32;
    /// An ENUM.
    pub const ENUM: u16 = 256;
    /// A SET.
    pub const SET: u16 = 2048;
}

impl ColumnDefinition {
    /// Reads a description; `extended` where MariaDB's own types are in it.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Protocol`].
    pub fn read(payload: &[u8], extended: bool) -> Result<Self> {
        let read = || {
            let mut reader = Reader(payload);
            let text = |reader: &mut Reader<'_>| Some(String::from_utf8_lossy(reader.bytes()?).into_owned());
            reader.bytes()?;
            let schema = text(&mut reader)?;
            reader.bytes()?;
            let table = text(&mut reader)?;
            let name = text(&mut reader)?;
            let column = text(&mut reader)?;
            let (mut extended_type, mut extended_format) = (None, None);
            if extended {
                let mut items = Reader(reader.bytes()?);
                while let Some(kind) = items.u8() {
                    let value = text(&mut items)?;
                    match kind {
                        0 => extended_type = Some(value),
                        1 => extended_format = Some(value),
                        _ => {}
                    }
                }
            }
            reader.integer()?;
            Some(Self {
                schema,
                table,
                name,
                column,
                collation: reader.u16()?,
                length: reader.u32()?,
                type_code: reader.u8()?,
                flags: reader.u16()?,
                decimals: reader.u8()?,
                extended_type,
                extended_format,
            })
        };
        read().ok_or_else(|| error::protocol("the description of a column is too short"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_are_read() {
        let mut reader =
            Reader(&[250, 0xfc, 1, 2, 0xfd, 1, 2, 3, 0xfe, 1, 0, 0, 0, 0, 0, 0, 128, 0xfb, 0xff]);
        let numbers: Vec<_> = (0..4).map(|_| reader.integer().unwrap()).collect();
        assert_eq!(numbers, [250, 0x201, 0x3_0201, 0x8000_0000_0000_0001]);
        assert_eq!(reader.field(), Some(None));
        assert_eq!(reader.integer(), None);
    }

    #[test]
    fn end_of_a_stream_is_no_ok_packet() {
        let end = Done::read(&[0xfe, 1, 0, 2, 0]).unwrap();
        assert_eq!(end, Done { warnings: 1, ..Done::default() });
        assert!(Done::read(&[0xfe, 1, 0, 8, 0]).unwrap().more);
    }

    #[test]
    fn truncated_payloads_are_errors_and_no_panic() {
        let ok = [0, 1, 0, 2, 0, 3, 0];
        assert_eq!(Done::read(&ok).unwrap(), Done { affected: 1, warnings: 3, ..Done::default() });
        for length in 0..ok.len() {
            assert!(Done::read(&ok[..length]).is_err());
        }
        assert!(ColumnDefinition::read(&[3, b'd'], true).is_err());
        assert_eq!(server_error("Doing", &[0xff]).code.as_deref(), Some("0"));
        let error = server_error("Doing", b"\xff\x7a\x04#42S02Table 't' doesn't exist");
        assert_eq!(error.to_string(), "Doing: Table 't' doesn't exist [1146]");
    }
}
