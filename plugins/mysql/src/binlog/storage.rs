//! How a column's values lie in a row image.
//!
//! Source: MySQL's `table_map_event` and `binary_log_funcs` documentation, MariaDB knowledge base "Rows_event_v1/v2".

use hub_plugin_api::Result;

use super::cursor::{Cursor, little, malformed};

/// How values lie in a row image. Lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A little-endian integer of so many bytes.
    Integer(u8),
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// Packed digits, nine to four bytes.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// One byte: years since 1900, 0 for year 0.
    Year,
    /// Three bytes: day, month and year in bits.
    Date,
    /// Packed big-endian with so many digits of a second.
    Time(u8),
    /// Packed big-endian with so many digits of a second.
    DateTime(u8),
    /// Big-endian seconds with so many digits of a second.
    Timestamp(u8),
    /// Three bytes: decimal digits, of tables that were made before fractions of a second were.
    OldTime,
    /// Eight bytes: decimal digits.
    OldDateTime,
    /// Four bytes: seconds.
    OldTimestamp,
    /// Big-endian bits in so many bytes.
    Bit {
        /// How many bits.
        bits: u16,
    },
    /// The number of a value, from 1; 0 is the empty text of a value that was refused.
    Enum(u8),
    /// A bit a value, in so many bytes.
    Set(u8),
    /// Bytes behind a length of so many bytes; at most `most` bytes.
    Bytes {
        /// Bytes of the length.
        length: u8,
        /// The most bytes of a value, 0 where the log does not say.
        most: u32,
        /// Which family of types.
        family: Family,
    },
}

/// What kind of column keeps its values as bytes behind a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// CHAR, BINARY, and MariaDB's UUID and INET.
    Fixed,
    /// VARCHAR and VARBINARY.
    Varying,
    /// TEXT and BLOB of all sizes, MariaDB's JSON.
    Large,
    /// MySQL's binary JSON.
    Json,
    /// Four bytes of SRID, then WKB.
    Geometry,
    /// 32-bit floats.
    Vector,
}

/// Codes of types in a table map event.
mod code {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    /// MariaDB's `COLUMN_FORMAT COMPRESSED` of TEXT and BLOB.
    pub const BLOB_COMPRESSED: u8 = 140;
    /// MariaDB's `COLUMN_FORMAT COMPRESSED` of VARCHAR.
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

impl Storage {
    /// Reads a column's metadata behind its type's code.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Protocol`] for a code that is not known.
    pub fn parse(type_code: u8, metadata: &mut Cursor<'_>) -> Result<Self> {
        let bytes = |length, most, family| Self::Bytes { length, most, family };
        Ok(match type_code {
            code::TINY => Self::Integer(1),
            code::SHORT => Self::Integer(2),
            code::INT24 => Self::Integer(3),
            code::LONG => Self::Integer(4),
            code::LONGLONG => Self::Integer(8),
            code::FLOAT => {
                metadata.u8()?;
                Self::Float
            }
            code::DOUBLE => {
                metadata.u8()?;
                Self::Double
            }
            code::NEWDECIMAL => Self::Decimal { precision: metadata.u8()?, scale: metadata.u8()? },
            code::YEAR => Self::Year,
            code::DATE | code::NEWDATE => Self::Date,
            code::TIME => Self::OldTime,
            code::DATETIME => Self::OldDateTime,
            code::TIMESTAMP => Self::OldTimestamp,
            code::TIME2 => Self::Time(metadata.u8()?),
            code::DATETIME2 => Self::DateTime(metadata.u8()?),
            code::TIMESTAMP2 => Self::Timestamp(metadata.u8()?),
            code::BIT => {
                let (bits, bytes) = (metadata.u8()?, metadata.u8()?);
                Self::Bit { bits: u16::from(bytes) * 8 + u16::from(bits) }
            }
            code::VARCHAR | code::VAR_STRING => {
                let most = u32::from(metadata.u16()?);
                bytes(length_bytes(most), most, Family::Varying)
            }
            code::STRING | code::ENUM | code::SET => Self::parse_string(metadata.u8()?, metadata.u8()?)?,
            code::BLOB => bytes(metadata.u8()?, 0, Family::Large),
            code::JSON => bytes(metadata.u8()?, 0, Family::Json),
            code::GEOMETRY => bytes(metadata.u8()?, 0, Family::Geometry),
            code::VECTOR => bytes(metadata.u8()?, 0, Family::Vector),
            code::BLOB_COMPRESSED | code::VARCHAR_COMPRESSED => {
                return Err(malformed("Compressed columns cannot be read from the binary log")
                    .with_hint("Leave the table out, or alter the column to one without COMPRESSED"));
            }
            other => return Err(malformed(format!("Type {other} of a column is not known"))),
        })
    }

    /// Two bytes that hold the real type, and a length of up to ten bits.
    fn parse_string(first: u8, second: u8) -> Result<Self> {
        let most = u32::from((first & 0x30) ^ 0x30) << 4 | u32::from(second);
        Ok(match first | 0x30 {
            // CHAR(0) has no bits to spare.
            _ if first == 0 => Self::Bytes { length: 1, most: u32::from(second), family: Family::Fixed },
            code::ENUM => Self::Enum(second),
            code::SET => Self::Set(second),
            code::STRING => Self::Bytes { length: length_bytes(most), most, family: Family::Fixed },
            other => return Err(malformed(format!("Type {other} of a column is not known"))),
        })
    }

    /// The bytes of the next value, without a length before it.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Protocol`] when the image ends before.
    pub fn take<'a>(self, image: &mut Cursor<'a>) -> Result<&'a [u8]> {
        let count = match self {
            Self::Integer(bytes) | Self::Enum(bytes) | Self::Set(bytes) => bytes.into(),
            Self::Float | Self::OldTimestamp => 4,
            Self::Double | Self::OldDateTime => 8,
            Self::Decimal { precision, scale } => decimal_bytes(precision, scale),
            Self::Year => 1,
            Self::Date | Self::OldTime => 3,
            Self::Time(digits) => 3 + fraction_bytes(digits),
            Self::DateTime(digits) => 5 + fraction_bytes(digits),
            Self::Timestamp(digits) => 4 + fraction_bytes(digits),
            Self::Bit { bits } => bits.div_ceil(8).into(),
            Self::Bytes { length, .. } => little(image.take(length.into())?) as usize,
        };
        image.take(count)
    }
}

fn length_bytes(most: u32) -> u8 {
    if most > 255 { 2 } else { 1 }
}

fn fraction_bytes(digits: u8) -> usize {
    usize::from(digits).div_ceil(2)
}

/// Bytes that so many digits of a decimal take, below nine.
pub const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

fn decimal_bytes(precision: u8, scale: u8) -> usize {
    let part = |digits: u8| usize::from(digits / 9) * 4 + DIGIT_BYTES[usize::from(digits % 9)];
    part(precision.saturating_sub(scale)) + part(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_strings_hides_type_and_length() {
        let of = |bytes: &[u8]| Storage::parse(code::STRING, &mut Cursor(bytes)).unwrap();
        assert_eq!(of(&[247, 1]), Storage::Enum(1));
        assert_eq!(of(&[248, 8]), Storage::Set(8));
        assert_eq!(of(&[254, 40]), Storage::Bytes { length: 1, most: 40, family: Family::Fixed });
        // CHAR(255) of a charset with four bytes: 1020 = 3 << 8 | 252.
        assert_eq!(of(&[254 ^ 0x30, 252]), Storage::Bytes { length: 2, most: 1020, family: Family::Fixed });
    }

    #[test]
    fn values_are_taken_by_their_length() {
        let mut image = Cursor(&[3, 0, b'a', b'b', b'c', 9, 9, 1]);
        let text = Storage::Bytes { length: 2, most: 300, family: Family::Varying };
        assert_eq!(text.take(&mut image).unwrap(), b"abc");
        assert_eq!(Storage::Bit { bits: 9 }.take(&mut image).unwrap(), [9, 9]);
        assert!(Storage::DateTime(6).take(&mut image).is_err());
        assert_eq!(decimal_bytes(65, 30), 30);
        assert_eq!(decimal_bytes(14, 4), 7);
    }
}
