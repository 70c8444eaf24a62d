//! The stream of `COPY … TO STDOUT (FORMAT binary)` (PostgreSQL manual, COPY, "Binary Format"): a header, tuples of
//! counted fields, and a trailer.

use hub_plugin_api::{Error, ErrorKind, Result};

use super::input::{Field, Input};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Set when tuples carry OIDs; no server since version 12 does, and we never ask for it.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// The trailer stands where a tuple has its count of fields.
const TRAILER: i16 = -1;

/// Cuts the stream into tuples, wherever its messages end.
#[derive(Default)]
pub struct CopyFrames {
    past_header: bool,
    past_trailer: bool,
    /// The beginning of a tuple whose end has not come yet.
    partial: Vec<u8>,
}

impl CopyFrames {
    /// Takes the next bytes of the stream. `take` gets bytes that begin with a tuple, and says how many of them the
    /// tuple has; `None` when its end is not among them, and then it gets them again with what follows.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when the stream is not as documented, and what `take` fails with.
    #[inline]
    pub fn feed(
        &mut self,
        message: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<Option<usize>>,
    ) -> Result<()> {
        if self.partial.is_empty() {
            let used = self.cut(message, &mut take)?;
            // As the server sends it, a message ends where a tuple does.
            if used < message.len() {
                self.partial.extend_from_slice(&message[used..]);
            }
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(message);
        let used = self.cut(&joined, &mut take)?;
        joined.drain(..used);
        self.partial = joined;
        Ok(())
    }

    /// The end of the stream.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when it ended before its trailer.
    pub fn end(&self) -> Result<()> {
        if self.past_trailer && self.partial.is_empty() {
            return Ok(());
        }
        Err(malformed("it ended before its trailer"))
    }

    /// Handles whole tuples, and answers how many bytes they were.
    #[inline]
    fn cut(&mut self, bytes: &[u8], take: &mut impl FnMut(&[u8]) -> Result<Option<usize>>) -> Result<usize> {
        let mut input = Input(bytes);
        if !self.past_header {
            if !skip_header(&mut input)? {
                return Ok(0);
            }
            self.past_header = true;
        }
        while let Some(count) = Input(input.0).i16() {
            if self.past_trailer {
                return Err(malformed("there is something behind its trailer"));
            }
            if count == TRAILER {
                self.past_trailer = true;
                input.take(size_of::<i16>());
                continue;
            }
            let Some(length) = take(input.0)? else { break };
            if input.take(length).is_none() {
                return Err(malformed("a tuple ends behind its bytes"));
            }
        }
        if self.past_trailer && !input.0.is_empty() {
            return Err(malformed("there is something behind its trailer"));
        }
        Ok(bytes.len() - input.0.len())
    }
}

/// A tuple's bytes: a count of fields, and each field's length before its bytes.
#[derive(Clone, Copy)]
pub struct Tuple<'a>(pub &'a [u8]);

impl<'a> Tuple<'a> {
    /// One field; `None` is null, and also what is not there. The fields before it are passed.
    pub fn field(self, index: usize) -> Option<&'a [u8]> {
        let mut input = Input(self.0);
        let count = usize::try_from(input.i16()?).ok()?;
        let field = (0..count).map(|_| input.field()).nth(index)?;
        match field {
            Field::Value(value) => Some(value),
            Field::Null | Field::Incomplete | Field::Impossible => None,
        }
    }
}

/// Whether the whole header was there.
fn skip_header(input: &mut Input<'_>) -> Result<bool> {
    let mut ahead = Input(input.0);
    let (Some(signature), Some(flags), Some(extension)) =
        (ahead.take(SIGNATURE.len()), ahead.i32(), ahead.i32())
    else {
        return Ok(false);
    };
    if signature != SIGNATURE || flags.cast_unsigned() & CRITICAL_FLAGS != 0 {
        return Err(malformed("its header is unknown"));
    }
    let extension = usize::try_from(extension).map_err(|_| malformed("its header has a negative length"))?;
    if ahead.take(extension).is_none() {
        return Ok(false);
    }
    input.0 = ahead.0;
    Ok(true)
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("The stream of a COPY is not as documented: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn stream(rows: &[Row]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for row in rows {
            bytes.extend((row.len() as i16).to_be_bytes());
            for field in row {
                match field {
                    None => bytes.extend((-1i32).to_be_bytes()),
                    Some(value) => {
                        bytes.extend((value.len() as i32).to_be_bytes());
                        bytes.extend(value);
                    }
                }
            }
        }
        bytes.extend((-1i16).to_be_bytes());
        bytes
    }

    /// A tuple's fields and its length; `None` when its end is not there.
    fn tuple(bytes: &[u8]) -> Result<Option<(Row, usize)>> {
        let mut input = Input(bytes);
        let Some(count) = input.i16() else { return Ok(None) };
        let mut row = Row::new();
        for _ in 0..count {
            row.push(match input.field() {
                Field::Value(value) => Some(value.to_vec()),
                Field::Null => None,
                Field::Incomplete => return Ok(None),
                Field::Impossible => return Err(malformed("a field has a negative length")),
            });
        }
        Ok(Some((row, bytes.len() - input.0.len())))
    }

    fn read(messages: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Row>> {
        let (mut frames, mut rows) = (CopyFrames::default(), Vec::new());
        for message in messages {
            frames.feed(&message, |bytes| {
                let Some((row, length)) = tuple(bytes)? else { return Ok(None) };
                for (index, field) in row.iter().enumerate() {
                    assert_eq!(Tuple(&bytes[..length]).field(index), field.as_deref());
                }
                rows.push(row);
                Ok(Some(length))
            })?;
        }
        frames.end().map(|()| rows)
    }

    proptest! {
        #[test]
        fn rows_come_out_whole_wherever_the_messages_end(
            rows in prop::collection::vec(
                prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 0..4),
                0..20,
            ),
            length in 1usize..50,
        ) {
            let bytes = stream(&rows);
            let read = read(bytes.chunks(length).map(<[u8]>::to_vec));
            prop_assert_eq!(read.unwrap(), rows);
        }

        #[test]
        fn broken_streams_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(std::iter::once(bytes)).is_err());
        }
    }

    #[test]
    fn stream_that_ends_early_is_refused() {
        let whole = stream(&[vec![Some(b"a".to_vec()), None]]);
        for length in 0..whole.len() {
            assert!(read(std::iter::once(whole[..length].to_vec())).is_err(), "{length}");
        }
        assert!(read([whole.clone(), vec![0]].into_iter()).is_err());
    }
}
