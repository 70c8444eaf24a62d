//! Fields of a COPY: a length, then the bytes.

#[inline]
pub(super) fn put_two(out: &mut Vec<u8>, value: i16) {
    let [a, b] = value.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 2, a, b]);
}

#[inline]
pub(super) fn put_four(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&((4_u64 << 32) | u64::from(value as u32)).to_be_bytes());
}

#[inline]
pub(super) fn put_eight(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&((8_u128 << 64) | u128::from(value as u64)).to_be_bytes()[4..]);
}

#[inline]
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The server has no text with a NUL, and would name no column.
#[inline]
pub(super) fn put_text_bytes(out: &mut Vec<u8>, text: &str) -> Result<(), &'static str> {
    if text.as_bytes().contains(&0) {
        return Err("holds a NUL character, which no text of the server can");
    }
    put_bytes(out, text.as_bytes());
    Ok(())
}

pub(super) fn put_interval(out: &mut Vec<u8>, micros: i64, days: i32, months: i32) {
    out.extend_from_slice(&16_u32.to_be_bytes());
    out.extend_from_slice(&micros.to_be_bytes());
    out.extend_from_slice(&days.to_be_bytes());
    out.extend_from_slice(&months.to_be_bytes());
}

/// Writes a value of unknown length behind its length.
pub(super) fn put_measured(
    out: &mut Vec<u8>,
    put: impl FnOnce(&mut Vec<u8>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| "is longer than the server takes")?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
