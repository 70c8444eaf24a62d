//! The events of the binary log, as far as they are followed.
//!
//! Source: MySQL's documentation of `libs/mysql/binlog/event`; MariaDB knowledge base "Replication Protocol" (GTID,
//! GTID list, compressed rows and queries).

use std::io::Read;

use flate2::{Crc, read::ZlibDecoder};
use hub_plugin_api::{Error, Result};
use mysql_async::binlog::{BinlogVersion, events as driver};

use super::{
    cursor::{Cursor, big, malformed, truncated},
    gtid::{MariaDbGtid, Source, uuid_text},
};

/// Bytes of an event's head.
const HEAD: usize = 19;
const CHECKSUM: usize = 4;
/// Set on events that the server makes up for the stream.
pub const ARTIFICIAL: u16 = 0x20;
/// A query or rows that say they unpack to more are not believed.
const MAX_UNPACKED: u64 = 4 << 30;

/// The codes of events.
pub mod code {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const FORMAT: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const TAGGED_GTID: u8 = 42;
    pub const MARIADB_GTID: u8 = 162;
    pub const MARIADB_START_ENCRYPTION: u8 = 164;
    pub const MARIADB_QUERY_COMPRESSED: u8 = 165;
    pub const MARIADB_WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub const MARIADB_UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
    pub const MARIADB_DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub const MARIADB_WRITE_ROWS_COMPRESSED: u8 = 169;
    pub const MARIADB_UPDATE_ROWS_COMPRESSED: u8 = 170;
    pub const MARIADB_DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// What stands before every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Seconds since 1970 UTC; 0 in events that the server makes up for the stream.
    pub timestamp: u32,
    /// See [`code`].
    pub code: u8,
    /// The number of the server that wrote it first.
    pub server: u32,
    /// Where the next event of the file starts; 0 inside a packed transaction.
    pub next: u32,
    /// Bit 0x20: made up for the stream, not in the file.
    pub flags: u16,
}

/// How events of the file being read are framed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Format {
    /// Four bytes of CRC32 stand behind each event; not known before the first format event.
    checksums: Option<bool>,
}

impl Format {
    /// Takes an event's head and checksum off. A format event changes what holds for those after it.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Protocol`] for an event that is damaged.
    pub fn open<'a>(&mut self, event: &'a [u8]) -> Result<(Head, &'a [u8])> {
        let (head, body) = split(event)?;
        if head.code == code::FORMAT {
            // The algorithm's number and a checksum, which is there whatever the algorithm.
            let (rest, tail) = body.split_last_chunk::<5>().ok_or_else(truncated)?;
            if tail[0] > 1 {
                return Err(malformed(format!("The binary log has checksums of unknown kind {}", tail[0])));
            }
            self.checksums = Some(tail[0] == 1);
            return Ok((head, rest));
        }
        // Events that are made up for the stream have one on some servers only.
        let made_up =
            head.flags & ARTIFICIAL != 0 || matches!(head.code, code::HEARTBEAT | code::HEARTBEAT_V2);
        match self.checksums {
            Some(false) => Ok((head, body)),
            None | Some(true) => match body.split_last_chunk::<CHECKSUM>() {
                Some((rest, expected))
                    if crc(&event[..event.len() - CHECKSUM]) == u32::from_le_bytes(*expected) =>
                {
                    Ok((head, rest))
                }
                _ if made_up || self.checksums.is_none() => Ok((head, body)),
                _ => Err(malformed("An event of the binary log does not have its checksum")
                    .with_hint("The log or the way to here is damaged: verify the file with mysqlbinlog")),
            },
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// An event without checksum, as in a packed transaction.
pub fn split(event: &[u8]) -> Result<(Head, &[u8])> {
    let (head, body) = event.split_at_checked(HEAD).ok_or_else(truncated)?;
    let mut cursor = Cursor(head);
    let (timestamp, code) = (cursor.u32()?, cursor.u8()?);
    let (server, size) = (cursor.u32()?, cursor.u32()?);
    if size as usize != event.len() {
        return Err(malformed(format!("An event says it has {size} bytes, and has {}", event.len())));
    }
    Ok((Head { timestamp, code, server, next: cursor.u32()?, flags: cursor.u16()? }, body))
}

/// Whether an event starts a transaction.
pub fn is_gtid(of: u8) -> bool {
    matches!(of, code::GTID | code::ANONYMOUS_GTID | code::TAGGED_GTID | code::MARIADB_GTID)
}

/// What starts a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gtid {
    /// MySQL's.
    MySql {
        /// Who committed it first; absent for a transaction without id.
        id: Option<(Source, u64)>,
        /// µs since 1970 UTC; 0 where the server does not say.
        committed_micros: u64,
    },
    /// MariaDB's.
    MariaDb {
        /// The id.
        id: MariaDbGtid,
        /// One statement without an event that ends it.
        standalone: bool,
        /// Of an XA transaction that is prepared here, and committed or taken back later.
        prepared_xa: bool,
        /// An ALTER that is only begun here, or given up: with `binlog_alter_two_phase` it comes again when it is done.
        undone_alter: bool,
    },
}

impl Gtid {
    /// The id as text; none for a transaction without one.
    pub fn id_text(&self) -> Option<String> {
        match self {
            Self::MySql { id, .. } => {
                let ((uuid, tag), number) = id.as_ref()?;
                Some(format!("{}:{tag}:{number}", uuid_text(uuid)))
            }
            Self::MariaDb { id, .. } => Some(id.to_string()),
        }
    }

    /// Reads any event that starts a transaction.
    ///
    /// # Errors
    /// When it is not as documented.
    pub fn parse(head: Head, body: &[u8]) -> Result<Self> {
        let mut cursor = Cursor(body);
        match head.code {
            code::MARIADB_GTID => {
                let (sequence, domain) = (cursor.uint(8)?, cursor.u32()?);
                let flags = cursor.u8()?;
                if flags & 2 != 0 {
                    cursor.take(8)?;
                }
                if flags & (64 | 128) != 0 {
                    cursor.u32()?;
                    let name = usize::from(cursor.u8()?) + usize::from(cursor.u8()?);
                    cursor.take(name)?;
                }
                // The event may end before these.
                let more = cursor.u8().unwrap_or_default();
                Ok(Self::MariaDb {
                    id: MariaDbGtid { domain, server: head.server, sequence },
                    standalone: flags & 1 != 0,
                    prepared_xa: flags & 64 != 0,
                    undone_alter: more & (2 | 8) != 0,
                })
            }
            code::TAGGED_GTID => tagged(body),
            of => {
                cursor.u8()?;
                let mut uuid = [0; 16];
                uuid.copy_from_slice(cursor.take(16)?);
                let number = cursor.uint(8)?;
                // What follows is there since 8.0: logical clock, then seven bytes of commit time.
                let committed = cursor.take(17).ok().and_then(|_| cursor.uint(7).ok()).unwrap_or_default();
                let id = (of == code::GTID).then(|| ((uuid, String::new()), number));
                Ok(Self::MySql { id, committed_micros: committed & !(1 << 55) })
            }
        }
    }
}

/// A GTID with a tag is in a format of its own, which the driver reads.
fn tagged(body: &[u8]) -> Result<Gtid> {
    let failed = |error: std::io::Error| malformed("A tagged GTID cannot be read").with_source(&error);
    let mut event = vec![0; HEAD];
    event[4] = code::TAGGED_GTID;
    event[9..13].copy_from_slice(&((HEAD + body.len()) as u32).to_le_bytes());
    event.extend_from_slice(body);
    let format = driver::FormatDescriptionEvent::new(BinlogVersion::Version4);
    let event = driver::Event::read(&format, &event[..]).map_err(failed)?;
    let gtid = event.read_event::<driver::GtidEvent>().map_err(failed)?;
    let tag = gtid.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
    Ok(Gtid::MySql {
        id: Some(((gtid.sid(), tag), gtid.gno())),
        committed_micros: gtid.immediate_commit_timestamp(),
    })
}

/// The file and the place in it that a rotate or heartbeat event names.
///
/// # Errors
/// When it is not as documented.
pub fn place(head: Head, body: &[u8]) -> Result<(String, u64)> {
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut cursor = Cursor(body);
    match head.code {
        code::ROTATE => {
            let position = cursor.uint(8)?;
            Ok((name(cursor.0), position))
        }
        code::HEARTBEAT => Ok((name(body), head.next.into())),
        _ => {
            let (mut file, mut position) = (String::new(), 0);
            while !cursor.is_empty() {
                let field = cursor.u8()?;
                let mut value = Cursor(cursor.packed_bytes()?);
                match field {
                    1 => file = name(value.0),
                    2 => position = value.packed()?,
                    _ => {}
                }
            }
            Ok((file, position))
        }
    }
}

/// Unpacks what MariaDB packed: a byte with the length of the length, the length in big-endian, then zlib.
///
/// # Errors
/// When it is not as documented, or does not unpack to as many bytes as it says.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut cursor = Cursor(bytes);
    let head = cursor.u8()?;
    if head & 0x80 == 0 || head >> 4 & 7 != 0 {
        return Err(malformed("A packed event is not packed with zlib"));
    }
    let length = big(cursor.take((head & 7).into())?);
    if length > MAX_UNPACKED {
        return Err(malformed(format!("A packed event says it has {length} bytes")));
    }
    let mut unpacked = Vec::new();
    let failed = |error: std::io::Error| malformed("A packed event cannot be unpacked").with_source(&error);
    ZlibDecoder::new(cursor.0).take(length + 1).read_to_end(&mut unpacked).map_err(failed)?;
    if unpacked.len() as u64 != length {
        return Err(malformed("A packed event does not unpack to as many bytes as it says"));
    }
    Ok(unpacked)
}

/// Hands each event of a packed transaction to `each`, one after the other: never the whole of it in memory.
///
/// # Errors
/// When the payload is not as documented, or `each` fails.
pub fn each_of_payload(body: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let failed =
        |error: std::io::Error| malformed("A packed transaction cannot be unpacked").with_source(&error);
    let mut cursor = Cursor(body);
    let (mut algorithm, mut size) = (None, 0);
    loop {
        let field = cursor.packed()?;
        if field == 0 {
            break;
        }
        let mut value = Cursor(cursor.packed_bytes()?);
        match field {
            2 => algorithm = Some(value.packed()?),
            3 => size = value.packed()?,
            _ => {}
        }
    }
    use driver::TransactionPayloadEvent as Payload;
    use mysql_async::binlog::TransactionPayloadCompressionType as Algorithm;
    let algorithm = match algorithm {
        Some(0) => Algorithm::ZSTD,
        Some(255) => Algorithm::NONE,
        _ => return Err(malformed("A transaction is packed in a way that is not known")),
    };
    let payload = Payload::new(cursor.0.len() as u64, algorithm, size, cursor.0);
    let mut events = payload.decompressed().map_err(failed)?;
    let mut event = Vec::new();
    while events.has_data_left().map_err(failed)? {
        event.resize(HEAD, 0);
        events.read_exact(&mut event).map_err(failed)?;
        let size = u32::from_le_bytes([event[9], event[10], event[11], event[12]]) as usize;
        let rest = size.checked_sub(HEAD).ok_or_else(truncated)? as u64;
        let read = (&mut events).take(rest).read_to_end(&mut event).map_err(failed)?;
        if read as u64 != rest {
            return Err(truncated());
        }
        each(&event)?;
    }
    Ok(())
}

/// What an incident event says: the server lost events.
pub fn incident(body: &[u8]) -> Error {
    let text = body.get(3..).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    Error::new(
        hub_plugin_api::ErrorKind::PositionLost,
        format!("The server noted in its log that changes may be missing from it: `{text}`"),
    )
    .with_hint("Read everything again with `--from-scratch`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: u8, body: &[u8], checksum: bool) -> Vec<u8> {
        let size = HEAD + body.len() + if checksum { CHECKSUM } else { 0 };
        let mut event = [7u32.to_le_bytes().as_slice(), &[code], &1u32.to_le_bytes()].concat();
        event.extend_from_slice(&(size as u32).to_le_bytes());
        event.extend_from_slice(&200u32.to_le_bytes());
        event.extend_from_slice(&[0, 0]);
        event.extend_from_slice(body);
        if checksum {
            let mut crc = Crc::new();
            crc.update(&event);
            event.extend_from_slice(&crc.sum().to_le_bytes());
        }
        event
    }

    #[test]
    fn checksum_is_checked_and_taken_off() {
        let mut format = Format::default();
        let mut body = vec![0; 60];
        body.extend_from_slice(&[1, 0, 0, 0, 0]);
        format.open(&event(code::FORMAT, &body, false)).unwrap();
        let mut xid = event(code::XID, &[1, 0, 0, 0, 0, 0, 0, 0], true);
        let (head, body) = format.open(&xid).unwrap();
        assert_eq!((head.code, head.next, body.len()), (code::XID, 200, 8));
        xid[HEAD] = 2;
        assert!(format.open(&xid).unwrap_err().message.contains("checksum"));
        assert!(format.open(&xid[..30]).is_err());
    }

    #[test]
    fn transactions_of_both_servers_are_told_apart() {
        let head = |code| Head { timestamp: 1, code, server: 9, next: 1, flags: 0 };
        let body = [&5u64.to_le_bytes()[..], &3u32.to_le_bytes(), &[1]].concat();
        let id = MariaDbGtid { domain: 3, server: 9, sequence: 5 };
        let maria = Gtid::parse(head(code::MARIADB_GTID), &body).unwrap();
        assert_eq!(maria, Gtid::MariaDb { id, standalone: true, prepared_xa: false, undone_alter: false });
        let body = [&[1][..], &[7; 16], &12u64.to_le_bytes(), &[0; 17], &[1, 0, 0, 0, 0, 0, 0x80]].concat();
        let mysql = Gtid::parse(head(code::GTID), &body).unwrap();
        let id = Some((([7; 16], String::new()), 12));
        assert_eq!(mysql, Gtid::MySql { id, committed_micros: 1 });
    }
}
