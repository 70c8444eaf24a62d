//! Bytes in the order of the network.

/// What is still to be read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

/// A field of a row: its length, then its bytes.
pub(super) enum Field<'a> {
    Value(&'a [u8]),
    Null,
    /// Its end is not there.
    Incomplete,
    /// No field has this length.
    Impossible,
}

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*taken))
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*taken))
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_be_bytes(*taken))
    }

    #[inline]
    pub(super) fn field(&mut self) -> Field<'a> {
        let Some((length, rest)) = self.0.split_first_chunk() else { return Field::Incomplete };
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            self.0 = rest;
            return if length == -1 { Field::Null } else { Field::Impossible };
        };
        let Some((value, rest)) = rest.split_at_checked(length) else { return Field::Incomplete };
        self.0 = rest;
        Field::Value(value)
    }
}
