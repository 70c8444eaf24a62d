//! Takes the bytes of an event apart, from front to back.

use hub_plugin_api::{Error, ErrorKind, Result};

/// What is left of an event.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(little(self.take(2)?) as u16)
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(little(self.take(4)?) as u32)
    }

    /// A little-endian number of up to eight bytes.
    pub fn uint(&mut self, bytes: usize) -> Result<u64> {
        Ok(little(self.take(bytes)?))
    }

    /// MySQL's length-encoded integer.
    pub fn packed(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ 0..=250 => Ok(small.into()),
            252 => self.uint(2),
            253 => self.uint(3),
            254 => self.uint(8),
            _ => Err(truncated()),
        }
    }

    /// A length-encoded integer that counts bytes or items of the event.
    pub fn length(&mut self) -> Result<usize> {
        usize::try_from(self.packed()?).map_err(|_| truncated())
    }

    /// Bytes behind their length-encoded length.
    pub fn packed_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}

/// A little-endian number of up to eight bytes.
pub fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A big-endian number of up to eight bytes.
pub fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// An event that does not hold what its head says.
pub fn truncated() -> Error {
    malformed("An event of the binary log ends too early")
}

/// An event that is not as documented.
pub fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_two_three_or_eight_bytes() {
        let bytes = [250, 252, 1, 1, 253, 1, 0, 1, 254, 1, 0, 0, 0, 0, 0, 0, 0];
        let mut cursor = Cursor(&bytes);
        let lengths: Vec<_> = (0..4).map(|_| cursor.packed().unwrap()).collect();
        assert_eq!(lengths, [250, 257, 65_537, 1]);
        assert!(cursor.is_empty());
        assert_eq!(cursor.u8().unwrap_err().kind, ErrorKind::Protocol);
        assert!(Cursor(&[255]).packed().is_err() && Cursor(&[5, 1]).packed_bytes().is_err());
    }
}
