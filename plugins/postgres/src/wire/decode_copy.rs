//! The stream of `COPY … TO STDOUT (FORMAT binary)` (PostgreSQL manual, COPY, "Binary Format"): a header, tuples of
//! counted fields, and a trailer.

use hub_plugin_api::{Error, ErrorKind, Result};

use super::decode_column::Input;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Set when tuples carry OIDs; no server since version 12 does, and we never ask for it.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// Where a field of the current tuple lies; `None` is null.
type Place = Option<(usize, usize)>;

/// Cuts the stream into tuples, wherever its messages end.
#[derive(Default)]
pub struct CopyFrames {
    past_header: bool,
    past_trailer: bool,
    /// The beginning of a tuple whose end has not come yet.
    partial: Vec<u8>,
    places: Vec<Place>,
}

impl CopyFrames {
    /// Takes the next bytes of the stream and hands each tuple in them to `each`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when the stream is not as documented, and what `each` fails with.
    pub fn feed(&mut self, message: &[u8], mut each: impl FnMut(Tuple<'_>) -> Result<()>) -> Result<()> {
        if self.partial.is_empty() {
            let used = self.cut(message, &mut each)?;
            self.partial.extend_from_slice(&message[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(message);
        let used = self.cut(&joined, &mut each)?;
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
    fn cut(&mut self, bytes: &[u8], each: &mut impl FnMut(Tuple<'_>) -> Result<()>) -> Result<usize> {
        let mut input = Input(bytes);
        let mut used = 0;
        if !self.past_header {
            if !skip_header(&mut input)? {
                return Ok(0);
            }
            self.past_header = true;
            used = bytes.len() - input.0.len();
        }
        while !input.0.is_empty() {
            if self.past_trailer {
                return Err(malformed("there is something behind its trailer"));
            }
            match self.find_fields(&mut input, bytes.len())? {
                Found::Tuple => each(Tuple { bytes, places: &self.places })?,
                Found::Trailer => self.past_trailer = true,
                Found::Incomplete => return Ok(used),
            }
            used = bytes.len() - input.0.len();
        }
        Ok(used)
    }

    fn find_fields(&mut self, input: &mut Input<'_>, total: usize) -> Result<Found> {
        self.places.clear();
        let Some(count) = input.i16() else { return Ok(Found::Incomplete) };
        if count == -1 {
            return Ok(Found::Trailer);
        }
        for _ in 0..count {
            let Some(length) = input.i32() else { return Ok(Found::Incomplete) };
            if length == -1 {
                self.places.push(None);
                continue;
            }
            let length = usize::try_from(length).map_err(|_| malformed("a field has a negative length"))?;
            let start = total - input.0.len();
            if input.take(length).is_none() {
                return Ok(Found::Incomplete);
            }
            self.places.push(Some((start, length)));
        }
        Ok(Found::Tuple)
    }
}

enum Found {
    Tuple,
    Trailer,
    Incomplete,
}

/// A tuple's fields.
#[derive(Clone, Copy)]
pub struct Tuple<'a> {
    bytes: &'a [u8],
    places: &'a [Place],
}

impl<'a> Tuple<'a> {
    /// The fields in order, `None` for null.
    pub fn fields(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.places.iter().map(move |place| place.map(|(start, length)| &self.bytes[start..start + length]))
    }

    /// One field; `None` also when there is none at this place.
    pub fn field(self, index: usize) -> Option<&'a [u8]> {
        let (start, length) = (*self.places.get(index)?)?;
        self.bytes.get(start..start + length)
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

    fn read(messages: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Row>> {
        let (mut frames, mut rows) = (CopyFrames::default(), Vec::new());
        for message in messages {
            frames.feed(&message, |tuple| {
                rows.push(tuple.fields().map(|field| field.map(<[u8]>::to_vec)).collect());
                Ok(())
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
