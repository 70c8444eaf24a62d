//! The messages of output plugin pgoutput (PostgreSQL manual, "Logical Replication Message Formats"), protocol
//! versions 1 to 4, cut out of their bytes without a copy.

use hub_plugin_api::{Error, ErrorKind, Result};

use super::lsn::Lsn;

/// Microseconds from 1970-01-01, where we count from, to 2000-01-01, where PostgreSQL does.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// A transaction whose changes follow.
    Begin { commit_lsn: Lsn, time: i64 },
    /// Its end.
    Commit { end_lsn: Lsn },
    /// A table's columns, before its first change and whenever they differ.
    Relation(Relation),
    /// A row that is new.
    Insert { relation: u32, new: Tuple<'a> },
    /// A row that changed, and as it was where the server sends that.
    Update { relation: u32, old: Option<(Image, Tuple<'a>)>, new: Tuple<'a> },
    /// A row that went.
    Delete { relation: u32, old: (Image, Tuple<'a>) },
    /// Tables that were emptied.
    Truncate { relations: Vec<u32> },
    /// A part of a large transaction that is still open follows.
    StreamStart { xid: u32 },
    /// The end of that part.
    StreamStop,
    /// A transaction that came in parts is committed.
    StreamCommit { xid: u32, commit_lsn: Lsn, end_lsn: Lsn, time: i64 },
    /// A transaction that came in parts, or a part of it between savepoints, is taken back.
    StreamAbort { xid: u32, subtransaction: u32 },
    /// What is of no importance here: origins, names of types, messages of applications.
    Other,
}

/// What a row as it was consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The columns of the replica identity; all others are sent as null.
    Key,
    /// Every column.
    Full,
}

/// A table as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// Its OID; the root's where partitions are published under it.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `d` primary key, `n` nothing, `f` full, `i` index.
    pub identity: u8,
    /// Its columns, in order.
    pub columns: Vec<RelationColumn>,
}

/// A column as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelationColumn {
    /// Its name.
    pub name: String,
    /// Whether it is part of the replica identity.
    pub in_identity: bool,
    /// The OID of its type.
    pub type_oid: u32,
    /// The modifier of its type.
    pub modifier: i32,
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Null.
    Null,
    /// A value stored apart from its row, which the change did not touch.
    Unchanged,
    /// As the type's output function writes it, where the type has no binary form.
    Text(&'a [u8]),
    /// As the type's send function writes it.
    Binary(&'a [u8]),
}

/// A row's values, checked to lie inside the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// The values, in the order of the relation's columns.
    pub fn values(self) -> impl Iterator<Item = Value<'a>> {
        let mut input = Input(self.bytes);
        (0..self.count).map_while(move |_| value(&mut input))
    }

    fn read(input: &mut Input<'a>) -> Option<Self> {
        let count = usize::try_from(input.i16()?).ok()?;
        let start = input.0;
        for _ in 0..count {
            value(input)?;
        }
        Some(Self { count, bytes: &start[..start.len() - input.0.len()] })
    }
}

fn value<'a>(input: &mut Input<'a>) -> Option<Value<'a>> {
    match input.u8()? {
        b'n' => Some(Value::Null),
        b'u' => Some(Value::Unchanged),
        kind @ (b't' | b'b') => {
            let length = usize::try_from(input.i32()?).ok()?;
            let bytes = input.take(length)?;
            Some(if kind == b'b' { Value::Binary(bytes) } else { Value::Text(bytes) })
        }
        _ => None,
    }
}

/// Reads one message. `in_stream`: it lies between a start and a stop of a stream, where changes name their
/// transaction, which is returned beside the message: the subtransaction where there is one.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is not as documented, [`ErrorKind::Unsupported`] for the messages of a two-phase
/// commit, which nobody asked for.
pub fn parse(bytes: &[u8], in_stream: bool) -> Result<(Option<u32>, Message<'_>)> {
    let mut input = Input(bytes);
    let kind = input.u8().ok_or_else(|| malformed("an empty message"))?;
    if matches!(kind, b'b' | b'P' | b'K' | b'r' | b'p') {
        return Err(Error::unsupported("A replication slot with two-phase commit").with_hint(
            "Give the slot up with `pg_drop_replication_slot`, and make one without `two_phase`: prepared \
             transactions then arrive when they are committed",
        ));
    }
    let names_transaction = in_stream && matches!(kind, b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M');
    let transaction = match names_transaction {
        true => Some(input.u32().ok_or_else(|| malformed(char::from(kind)))?),
        false => None,
    };
    let message = read(kind, &mut input).ok_or_else(|| malformed(char::from(kind)))?;
    Ok((transaction, message))
}

fn read<'a>(kind: u8, input: &mut Input<'a>) -> Option<Message<'a>> {
    Some(match kind {
        b'B' => Message::Begin { commit_lsn: lsn(input)?, time: time(input)? },
        b'C' => {
            input.u8()?;
            lsn(input)?;
            Message::Commit { end_lsn: lsn(input)? }
        }
        b'R' => Message::Relation(relation(input)?),
        b'I' => {
            let relation = input.u32()?;
            (input.u8()? == b'N').then_some(())?;
            Message::Insert { relation, new: Tuple::read(input)? }
        }
        b'U' => {
            let relation = input.u32()?;
            let old = match input.u8()? {
                b'N' => None,
                kind => {
                    let old = (image(kind)?, Tuple::read(input)?);
                    (input.u8()? == b'N').then_some(())?;
                    Some(old)
                }
            };
            Message::Update { relation, old, new: Tuple::read(input)? }
        }
        b'D' => {
            let relation = input.u32()?;
            Message::Delete { relation, old: (image(input.u8()?)?, Tuple::read(input)?) }
        }
        b'T' => {
            let count = input.u32()?;
            // CASCADE and RESTART IDENTITY: the server has named every table that it emptied.
            input.u8()?;
            Message::Truncate { relations: (0..count).map(|_| input.u32()).collect::<Option<_>>()? }
        }
        b'S' => Message::StreamStart { xid: input.u32()? },
        b'E' => Message::StreamStop,
        b'c' => {
            let xid = input.u32()?;
            input.u8()?;
            let (commit_lsn, end_lsn) = (lsn(input)?, lsn(input)?);
            Message::StreamCommit { xid, commit_lsn, end_lsn, time: time(input)? }
        }
        b'A' => Message::StreamAbort { xid: input.u32()?, subtransaction: input.u32()? },
        b'O' | b'Y' | b'M' => Message::Other,
        _ => return None,
    })
}

fn relation(input: &mut Input<'_>) -> Option<Relation> {
    let oid = input.u32()?;
    // An empty name stands for `pg_catalog`.
    let schema = Some(input.text()?).filter(|schema| !schema.is_empty());
    let name = input.text()?;
    let identity = input.u8()?;
    let count = input.i16()?;
    let column = |_| {
        let flags = input.u8()?;
        let name = input.text()?;
        let (type_oid, modifier) = (input.u32()?, input.i32()?);
        Some(RelationColumn { name, in_identity: flags & 1 == 1, type_oid, modifier })
    };
    let columns = (0..count).map(column).collect::<Option<_>>()?;
    Some(Relation { oid, schema: schema.unwrap_or_else(|| "pg_catalog".into()), name, identity, columns })
}

fn image(kind: u8) -> Option<Image> {
    match kind {
        b'K' => Some(Image::Key),
        b'O' => Some(Image::Full),
        _ => None,
    }
}

fn lsn(input: &mut Input<'_>) -> Option<Lsn> {
    input.u64().map(Lsn)
}

/// Microseconds since 1970 UTC.
fn time(input: &mut Input<'_>) -> Option<i64> {
    input.u64()?.cast_signed().checked_add(EPOCH_MICROS)
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Protocol, format!("A message of the change stream is not as documented: `{what}`"))
}

/// What is left of a message.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A text up to its NUL.
    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.take(end)?).ok()?.to_owned();
        self.take(1)?;
        Some(text)
    }
}

/// A message of the copy stream around pgoutput's (PostgreSQL manual, "Streaming Replication Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// A message of pgoutput's.
    Data(&'a [u8]),
    /// Everything up to `end` has been sent.
    KeepAlive { end: Lsn, wants_reply: bool },
}

/// Opens an envelope.
///
/// # Errors
/// [`ErrorKind::Protocol`] when it is not as documented.
pub fn open(bytes: &[u8]) -> Result<Envelope<'_>> {
    let mut input = Input(bytes);
    let envelope = match input.u8() {
        Some(b'w') => input.take(24).map(|_| Envelope::Data(input.0)),
        Some(b'k') => (|| {
            let end = lsn(&mut input)?;
            input.u64()?;
            Some(Envelope::KeepAlive { end, wants_reply: input.u8()? != 0 })
        })(),
        _ => None,
    };
    envelope.ok_or_else(|| malformed("envelope"))
}

/// The message that tells the server how far we are; `micros` since 1970 UTC.
pub fn status_update(received: Lsn, durable: Lsn, micros: i64) -> [u8; 34] {
    let mut message = [0; 34];
    message[0] = b'r';
    for (place, lsn) in [(1, received), (9, durable), (17, durable)] {
        message[place..place + 8].copy_from_slice(&lsn.0.to_be_bytes());
    }
    message[25..33].copy_from_slice(&micros.saturating_sub(EPOCH_MICROS).to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tuple(values: &[Value<'_>]) -> Vec<u8> {
        let mut bytes = (values.len() as i16).to_be_bytes().to_vec();
        for value in values {
            match value {
                Value::Null => bytes.push(b'n'),
                Value::Unchanged => bytes.push(b'u'),
                Value::Text(value) | Value::Binary(value) => {
                    bytes.push(b'b');
                    bytes.extend((value.len() as i32).to_be_bytes());
                    bytes.extend(*value);
                }
            }
        }
        bytes
    }

    #[test]
    fn rows_come_with_the_image_that_the_identity_gives() {
        let (old, new) = ([Value::Binary(b"1"), Value::Null], [Value::Binary(b"22"), Value::Unchanged]);
        let update = [b"U\0\0\0\x07K".to_vec(), tuple(&old), b"N".to_vec(), tuple(&new)].concat();
        let (transaction, message) = parse(&update, false).unwrap();
        let Message::Update { relation: 7, old: Some((Image::Key, key)), new: row } = message else {
            panic!("{message:?}")
        };
        assert_eq!(transaction, None);
        assert_eq!(key.values().collect::<Vec<_>>(), old);
        assert_eq!(row.values().collect::<Vec<_>>(), new);
        // Inside a stream each change names its transaction.
        let streamed = [b"D\0\0\x01\0\0\0\0\x07O".to_vec(), tuple(&new)].concat();
        let (transaction, message) = parse(&streamed, true).unwrap();
        assert_eq!(transaction, Some(256));
        assert!(matches!(message, Message::Delete { relation: 7, old: (Image::Full, _) }), "{message:?}");
    }

    #[test]
    fn tables_come_with_their_columns() {
        let mut bytes = b"R\0\0\0\x09s\0t\0d\0\x02\x01id\0".to_vec();
        bytes.extend([0, 0, 0, 23, 255, 255, 255, 255]);
        bytes.extend(b"\0name\0");
        bytes.extend([0, 0, 0, 25, 0, 0, 0, 9]);
        let (_, message) = parse(&bytes, false).unwrap();
        let column = |name: &str, in_identity, type_oid, modifier| RelationColumn {
            name: name.into(),
            in_identity,
            type_oid,
            modifier,
        };
        let expected = Relation {
            oid: 9,
            schema: "s".into(),
            name: "t".into(),
            identity: b'd',
            columns: vec![column("id", true, 23, -1), column("name", false, 25, 9)],
        };
        assert_eq!(message, Message::Relation(expected));
    }

    #[test]
    fn messages_of_a_two_phase_commit_are_refused_with_a_way_out() {
        let error = parse(b"P\0", false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.hint.unwrap().contains("two_phase"));
    }

    #[test]
    fn keep_alives_say_how_far_the_server_is() {
        let mut bytes = vec![b'k'];
        bytes.extend(77u64.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.push(1);
        assert_eq!(open(&bytes).unwrap(), Envelope::KeepAlive { end: Lsn(77), wants_reply: true });
        assert_eq!(open(&[&[b'w'][..], &[0; 24], b"C"].concat()).unwrap(), Envelope::Data(b"C"));
        assert!(open(b"").is_err() && open(b"w123").is_err() && open(b"z").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), streamed: bool) {
            for kind in b"BCRIUDTSEcAOYM" {
                let whole: Vec<u8> = std::iter::once(*kind).chain(bytes.iter().copied()).collect();
                if let Ok((_, Message::Insert { new, .. })) = parse(&whole, streamed) {
                    prop_assert_eq!(new.values().count(), new.count);
                }
            }
            let _ = open(&bytes);
        }
    }
}
