//! Values of varying length: what the log holds of them as the text or the bytes that they mean.

use super::{Decoding, Wrong, values::Bytes};
use crate::binlog::{
    cursor::{big, little},
    decimal, json,
    storage::{Family, Storage},
};

/// A geometry lies behind the number of its reference system, which well-known binary has behind the type instead,
/// marked by a bit of it; 0 is none.
pub(super) fn put_geometry(into: &mut Bytes, raw: &[u8]) -> Option<()> {
    let (system, geometry) = raw.split_at_checked(4)?;
    if system == [0; 4] {
        into.data.extend_from_slice(geometry);
        return Some(());
    }
    let (order_and_type, rest) = geometry.split_at_checked(5)?;
    into.data.extend_from_slice(order_and_type);
    // Both servers keep them little-endian.
    *into.data.last_mut()? |= 0x20;
    into.data.extend_from_slice(system);
    into.data.extend_from_slice(rest);
    Some(())
}

pub(super) fn put_text(
    into: &mut Bytes,
    storage: Storage,
    decoding: &Decoding,
    raw: &[u8],
) -> Result<(), Wrong> {
    match (storage, decoding) {
        (_, Decoding::Text(charset)) => charset.decode(raw, &mut into.data).map_err(Wrong::Other)?,
        (_, Decoding::Enum(values)) => match little(raw) as usize {
            // What a server that is not strict makes of a value that the type does not have.
            0 => {}
            number => {
                let value = values.get(number - 1).ok_or(Wrong::Storage)?;
                into.data.extend_from_slice(value.as_bytes());
            }
        },
        (_, Decoding::Set(values)) => {
            let (bits, mut first) = (little(raw), true);
            for place in (0..64).filter(|place| bits >> place & 1 == 1) {
                let value = values.get(place).ok_or(Wrong::Storage)?;
                if !std::mem::take(&mut first) {
                    into.data.push(b',');
                }
                into.data.extend_from_slice(value.as_bytes());
            }
        }
        (Storage::Bytes { most, .. }, Decoding::Address) => {
            // The log leaves out the zeros at the end.
            let mut whole = [0; 16];
            whole.get_mut(..raw.len()).ok_or(Wrong::Storage)?.copy_from_slice(raw);
            let text = match (most, whole) {
                (4, [a, b, c, d, ..]) => std::net::Ipv4Addr::new(a, b, c, d).to_string(),
                _ => std::net::Ipv6Addr::from(whole).to_string(),
            };
            into.data.extend_from_slice(text.as_bytes());
        }
        (Storage::Bytes { family: Family::Json, .. }, _) => {
            let mut text = String::new();
            json::write_text(raw, &mut text).map_err(Wrong::Error)?;
            into.data.extend_from_slice(text.as_bytes());
        }
        (Storage::Decimal { precision, scale }, _) => {
            let mut text = String::new();
            decimal::write_text(raw, precision, scale, &mut text).ok_or(Wrong::Storage)?;
            into.data.extend_from_slice(text.as_bytes());
        }
        (Storage::Bit { bits }, _) => {
            let value = big(raw);
            into.data.extend((0..bits).rev().map(|bit| b'0' + (value >> bit & 1) as u8));
        }
        _ => into.data.extend_from_slice(raw),
    }
    Ok(())
}
