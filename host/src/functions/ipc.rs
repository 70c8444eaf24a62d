//! Rows as an Arrow IPC stream, both ways. What comes from a guest is measured before anybody believes its lengths.
//!
//! The format is that of the Arrow columnar specification, "Serialization and Interprocess Communication": messages
//! of a marker, the length of the metadata, the metadata (a flatbuffer) and a body whose length the metadata says.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::RecordBatch,
        buffer::Buffer,
        compute::concat_batches,
        datatypes::SchemaRef,
        ipc::{MessageHeader, reader::StreamDecoder, root_as_message, writer::StreamWriter},
    },
    types,
};

/// What begins each message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// What ends a stream: a marker, and a message of no length.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The schema and the rows of a stream: all its batches as one. The values of a single batch stay where they are: only
/// what does not lie as its type wants it is copied.
///
/// # Errors
/// [`ErrorKind::InvalidData`] when the bytes are not an Arrow IPC stream, or a length in them is not true;
/// [`ErrorKind::UnsupportedType`] with the column's name for a type that is not carried.
pub(crate) fn import(bytes: Vec<u8>) -> Result<RecordBatch> {
    let (schema, batches) = read(bytes)?;
    match batches.as_slice() {
        [one] => Ok(one.clone()),
        many => concat_batches(&schema, many)
            .map_err(|error| broken("cannot be put together").with_source(&error)),
    }
}

/// The schema of a stream.
///
/// # Errors
/// As [`import`].
pub(crate) fn import_schema(bytes: Vec<u8>) -> Result<SchemaRef> {
    read(bytes).map(|(schema, _)| schema)
}

fn read(bytes: Vec<u8>) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let length = measure(&bytes)?;
    // A last resort: what the measuring does not see must not take the host down.
    let read = catch_unwind(AssertUnwindSafe(|| -> Result<_> {
        let invalid = |error| broken("cannot be read").with_source(&error);
        let mut decoder = StreamDecoder::new();
        let mut batches = Vec::new();
        // A stream may lack its end, and a last message without a body is not taken before something follows it.
        let messages = Buffer::from_vec(bytes).slice_with_length(0, length);
        for mut part in [messages, Buffer::from(END_OF_STREAM)] {
            while !part.is_empty() {
                batches.extend(decoder.decode(&mut part).map_err(invalid)?);
            }
        }
        decoder.finish().map_err(invalid)?;
        let schema = decoder.schema().ok_or_else(|| broken("has no schema"))?;
        types::columns_of(&schema)?;
        Ok((schema, batches))
    }));
    read.unwrap_or_else(|_| Err(broken("cannot be read: its parts contradict each other")))
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("The module's Arrow IPC stream {what}"))
}

/// The length of the stream without its end; fails unless every length that it claims is true.
fn measure(bytes: &[u8]) -> Result<usize> {
    let mut rest = bytes;
    let mut messages = 0_usize;
    while !rest.is_empty() {
        let message = format!("message {messages}");
        let is_marked = rest.starts_with(&CONTINUATION);
        let length = rest.get(4..8).and_then(|four| <[u8; 4]>::try_from(four).ok());
        let Some(length) = length.filter(|_| is_marked).map(i32::from_le_bytes) else {
            return Err(broken(format_args!("does not begin {message} with its marker and length")));
        };
        if length == 0 {
            break;
        }
        rest = &rest[8..];
        let metadata =
            usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or_else(|| {
                broken(format_args!("claims {length} bytes of metadata in {message}, and has {}", rest.len()))
            })?;
        rest = &rest[metadata.len()..];
        let body = measure_message(metadata, &message, rest)?;
        rest = &rest[body..];
        messages += 1;
    }
    if messages == 0 { Err(broken("has no schema")) } else { Ok(bytes.len() - rest.len()) }
}

/// The length of a message's body, of which every claimed part is there.
fn measure_message(metadata: &[u8], name: &str, rest: &[u8]) -> Result<usize> {
    let message = root_as_message(metadata)
        .map_err(|error| broken(format_args!("has metadata in {name} that is not a message: {error}")))?;
    let body =
        usize::try_from(message.bodyLength()).ok().filter(|body| *body <= rest.len()).ok_or_else(|| {
            broken(format_args!(
                "claims {} bytes of rows in {name}, and has {}",
                message.bodyLength(),
                rest.len()
            ))
        })?;
    match message.header_type() {
        MessageHeader::Schema => return Ok(body),
        MessageHeader::RecordBatch => {}
        other => {
            return Err(broken(format_args!(
                "has {name} of kind {}",
                other.variant_name().unwrap_or("unknown")
            ))
            .with_hint("Only a schema and record batches are taken, without dictionaries"));
        }
    }
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| broken(format_args!("has {name} without what it announces")))?;
    if batch.compression().is_some() {
        return Err(
            broken("is compressed").with_hint("Write it without compression: it never leaves this machine")
        );
    }
    let mut held = 0;
    for buffer in batch.buffers().iter().flatten() {
        let (offset, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let end = offset.ok().zip(length.ok()).and_then(|(offset, length)| offset.checked_add(length));
        if end.is_none_or(|end| end > body) {
            return Err(broken(format_args!(
                "claims {} bytes from {} on in {name}, which has {body}",
                buffer.length(),
                buffer.offset()
            )));
        }
        held += usize::try_from(buffer.length()).unwrap_or_default();
    }
    // The smallest value takes a bit, so nothing that is there has more values than bits.
    let most = held.saturating_mul(8);
    let nodes: Vec<_> = batch.nodes().iter().flatten().map(|node| node.length()).collect();
    for length in nodes.into_iter().chain([batch.length()]) {
        if usize::try_from(length).ok().is_none_or(|length| length > most && length != 0) {
            return Err(broken(format_args!(
                "claims {length} rows in {name}, which has {held} bytes of values"
            )));
        }
    }
    Ok(body)
}

/// A stream of one batch.
pub(crate) fn export(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size() + 1024);
    let mut writer = StreamWriter::try_new(&mut bytes, &Arc::clone(batch.schema_ref()))?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// A stream of no batch.
pub(crate) fn export_schema(schema: &SchemaRef) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    StreamWriter::try_new(&mut bytes, schema)?.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::arrow::array::{ArrayRef, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn batch() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("bc"), None]));
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("t", texts, true)]).unwrap()
    }

    #[test]
    fn rows_come_back() {
        assert_eq!(import(export(&batch()).unwrap()).unwrap(), batch());
        let schema = batch().schema();
        assert_eq!(import_schema(export_schema(&schema).unwrap()).unwrap(), schema);
        assert_eq!(import(export_schema(&schema).unwrap()).unwrap().num_rows(), 0);
    }

    #[test]
    fn values_stay_where_they_came() {
        let bytes = export(&batch()).unwrap();
        let place = bytes.as_ptr_range();
        let rows = import(bytes).unwrap();
        let values = rows.column(0).to_data().buffers()[0].as_ptr();
        assert!(place.contains(&values), "{values:?} is not in {place:?}");
    }

    #[test]
    fn a_stream_goes_on_behind_its_end_for_nobody() {
        let mut bytes = export(&batch()).unwrap();
        bytes.extend(b"more");
        assert_eq!(import(bytes).unwrap(), batch());
    }

    #[test]
    fn lengths_that_lie_are_named() {
        let honest = export(&batch()).unwrap();
        let mut metadata = honest.clone();
        metadata[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
        let error = import(metadata).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidData);
        assert!(
            error.message.starts_with(
                "The module's Arrow IPC stream claims 2147483647 bytes of metadata in message 0"
            ),
            "{error}"
        );
        let cut = (0..honest.len()).filter(|length| import(honest[..*length].to_vec()).is_ok()).count();
        assert!(cut <= 4, "only what is cut behind a message is whole: {cut}");
        assert!(import(b"not arrow at all".to_vec()).is_err());
    }

    proptest! {
        /// Whatever a guest changes, the answer is rows or an error.
        #[test]
        fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = export(&batch()).unwrap();
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = import(bytes);
        }
    }
}
