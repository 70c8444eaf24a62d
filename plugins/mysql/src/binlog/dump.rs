//! The stream of events from the server, over packets that are read in place.
//!
//! The driver's own stream copies each event, unpacks a packed transaction as a whole, and goes on silently behind one
//! that it cannot unpack. Source: MySQL's documentation of `COM_REGISTER_SLAVE`, `COM_BINLOG_DUMP` and
//! `COM_BINLOG_DUMP_GTID`; MariaDB knowledge base "Replication Protocol", `slave_connect_state`.

use std::task::{Context as TaskContext, Poll, ready};

use hub_plugin_api::{Canceller, Context, Error, ErrorKind, Result};

use super::{
    cursor::malformed,
    gtid::{GtidSet, Gtids},
    options::Options,
    position::LogPosition,
};
use crate::{
    config::Settings,
    flavor::Vendor,
    raw::{RawSession, Row},
};

const FOLLOWING: &str = "Could not follow the binary log";

/// First bytes of commands.
mod command {
    pub const BINLOG_DUMP: u8 = 0x12;
    pub const REGISTER_SLAVE: u8 = 0x15;
    pub const BINLOG_DUMP_GTID: u8 = 0x1e;
}

/// Start behind the transactions of a set.
const THROUGH_GTID: u16 = 4;

/// The stream ends where the log ends now.
const NON_BLOCKING: u16 = 1;

/// The events behind a position.
pub struct Dump {
    session: RawSession,
    /// Whether the stream ends where the log ends now.
    ends: bool,
    ended: bool,
}

impl Dump {
    /// Asks the server for the events behind `position`: for whatever comes, as the replica that `pipeline` is; or, without
    /// one, for what the log holds now behind a position without GTIDs, as nobody, which ends no stream of another.
    ///
    /// # Errors
    /// As [`RawSession::open`]; what the server thinks of the position comes with the first event.
    pub async fn open(
        settings: &Settings,
        context: &Context,
        options: &Options,
        vendor: Vendor,
        pipeline: Option<&str>,
        position: &LogPosition,
    ) -> Result<Self> {
        let mut session = RawSession::open(settings, context).await?;
        let gtids = position.gtids(vendor)?;
        for statement in preparations(vendor, options, pipeline, gtids.as_ref()) {
            session.run(&statement, FOLLOWING).await?;
        }
        if pipeline.is_some() {
            session.start_command(&register(settings.server_id), FOLLOWING).await?;
            let answer = session.receive(FOLLOWING).await?;
            if session.bytes(answer).first() == Some(&0xff) {
                return Err(refine(crate::raw::result::server_error(FOLLOWING, session.bytes(answer))));
            }
        }
        let server_id = pipeline.map(|_| settings.server_id);
        let request = match &gtids {
            Some(Gtids::MySql(set)) => by_gtids(settings.server_id, set),
            Some(Gtids::MariaDb(_)) if gtids.as_ref().is_some_and(|gtids| !gtids.is_empty()) => {
                by_file(server_id, "", 4)?
            }
            _ => by_file(server_id, &position.file, position.offset)?,
        };
        session.start_command(&request, FOLLOWING).await?;
        Ok(Self { session, ends: pipeline.is_none(), ended: false })
    }

    /// The next event, without waiting; none when it is not received whole.
    ///
    /// # Errors
    /// As the server answers.
    pub fn take(&mut self) -> Result<Option<&[u8]>> {
        match self.session.take_row(FOLLOWING).map_err(refine)? {
            None => Ok(None),
            Some(Row::End(_)) if self.ends => {
                self.ended = true;
                Ok(None)
            }
            Some(Row::End(_)) => {
                Err(Error::new(ErrorKind::Unavailable, "The server ended the stream of its binary log"))
            }
            Some(Row::Row(payload)) => match self.session.bytes(payload).split_first() {
                Some((0, event)) => Ok(Some(event)),
                _ => Err(malformed("The server sent something else than an event of its binary log")),
            },
        }
    }

    /// Whether all came that was wanted.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits until more is received.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn poll_receive(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<()>> {
        Poll::Ready(ready!(self.session.poll_receive(context, FOLLOWING)).map_err(refine))
    }

    /// Makes the server end the stream.
    pub fn canceller(&self) -> Canceller {
        self.session.canceller()
    }
}

fn register(server_id: u32) -> Vec<u8> {
    let mut request = vec![command::REGISTER_SLAVE];
    request.extend_from_slice(&server_id.to_le_bytes());
    // Host, account, password, port, rank and the source's number: for lists of replicas only.
    request.extend_from_slice(&[0; 3 + 2 + 4 + 4]);
    request
}

/// Without a number the stream ends where the log ends.
fn by_file(server_id: Option<u32>, file: &str, offset: u64) -> Result<Vec<u8>> {
    let offset = u32::try_from(offset).map_err(|_| {
        Error::unsupported(format_args!("Following file `{file}` of the log behind its first 4 GiB"))
            .with_hint("Lower `max_binlog_size`, or turn GTIDs on")
    })?;
    let mut request = vec![command::BINLOG_DUMP];
    request.extend_from_slice(&offset.to_le_bytes());
    let flags = if server_id.is_none() { NON_BLOCKING } else { 0 };
    request.extend_from_slice(&flags.to_le_bytes());
    request.extend_from_slice(&server_id.unwrap_or_default().to_le_bytes());
    request.extend_from_slice(file.as_bytes());
    Ok(request)
}

fn by_gtids(server_id: u32, set: &GtidSet) -> Vec<u8> {
    let tagged = set.sources().any(|((_, tag), _)| !tag.is_empty());
    let count = set.sources().count() as u64;
    let mut data = if tagged { count << 8 | 1 << 56 } else { count }.to_le_bytes().to_vec();
    for ((uuid, tag), ranges) in set.sources() {
        data.extend_from_slice(uuid);
        if tagged {
            // A tag has at most 32 characters: its length is one byte, shifted by one.
            data.push((tag.len() as u8) << 1);
            data.extend_from_slice(tag.as_bytes());
        }
        data.extend_from_slice(&(ranges.len() as u64).to_le_bytes());
        for (first, last) in ranges {
            data.extend_from_slice(&first.to_le_bytes());
            // Up to, not including.
            data.extend_from_slice(&(last + 1).to_le_bytes());
        }
    }
    let mut request = vec![command::BINLOG_DUMP_GTID];
    request.extend_from_slice(&THROUGH_GTID.to_le_bytes());
    request.extend_from_slice(&server_id.to_le_bytes());
    request.extend_from_slice(&0u32.to_le_bytes());
    request.extend_from_slice(&4u64.to_le_bytes());
    request.extend_from_slice(&(data.len() as u32).to_le_bytes());
    request.extend_from_slice(&data);
    request
}

/// What the server must know before it sends events.
fn preparations(
    vendor: Vendor,
    options: &Options,
    pipeline: Option<&str>,
    gtids: Option<&Gtids>,
) -> Vec<String> {
    let heartbeat = options.heartbeat().as_nanos();
    let mut statements = vec![
        format!("SET @master_heartbeat_period = {heartbeat}, @source_heartbeat_period = {heartbeat}"),
        "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, @source_binlog_checksum = @@GLOBAL.binlog_checksum"
            .to_owned(),
        // A destination that is slow for a while must not make the server give up.
        "SET SESSION net_write_timeout = 3600".to_owned(),
    ];
    match vendor {
        Vendor::MySql => {
            if let Some(pipeline) = pipeline {
                // A session that was left behind is known by this, and ended.
                let uuid = stable_uuid(pipeline);
                statements.push(format!("SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"));
            }
        }
        Vendor::MariaDb => {
            statements.push("SET @mariadb_slave_capability = 4".to_owned());
            if let Some(gtids) = gtids.filter(|gtids| !gtids.is_empty()) {
                statements.push(format!("SET @slave_connect_state = '{gtids}', @slave_gtid_strict_mode = 1"));
            }
        }
    }
    statements
}

/// A UUID that is the same every time for a pipeline: FNV-1a, twice.
fn stable_uuid(pipeline: &str) -> String {
    let hash = |seed: u64| {
        pipeline.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&high.to_be_bytes());
    uuid[8..].copy_from_slice(&low.to_be_bytes());
    // Version 8: made as its maker likes.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    super::gtid::uuid_text(&uuid)
}

/// Says what to do about an error of the stream.
fn refine(error: Error) -> Error {
    let text = error.source.clone().unwrap_or_default();
    if text.contains("same server_uuid/server_id") || text.contains("same server_id") {
        return Error { kind: ErrorKind::InvalidConfig, ..error }.with_field("server_id").with_hint(
            "Another replica or pipeline follows this server with the same Server ID: give each one its own",
        );
    }
    if text.contains("AUTO_POSITION") || error.message.contains("AUTO_POSITION") {
        // `gtid_mode` was lowered: the next try follows by file.
        return Error { kind: ErrorKind::Unavailable, ..error };
    }
    match error.kind {
        ErrorKind::PositionLost => error.with_hint(
            "What was to be read next is gone from the log: read everything again with `--from-scratch`, and keep \
             logs longer with `binlog_expire_logs_seconds`",
        ),
        // The session is open already, so a denied access (1045) is about the right, not about who asks.
        ErrorKind::PermissionDenied | ErrorKind::Authentication => {
            Error { kind: ErrorKind::PermissionDenied, ..error }
                .with_hint("Run GRANT REPLICATION SLAVE ON *.* TO the account")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_documented() {
        assert_eq!(register(7)[..5], [0x15, 7, 0, 0, 0]);
        assert_eq!(
            by_file(Some(7), "b.1", 4).unwrap(),
            [0x12, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, b'b', b'.', b'1']
        );
        assert_eq!(by_file(None, "b.1", 4).unwrap()[5..11], [1, 0, 0, 0, 0, 0]);
        assert!(by_file(None, "b.1", 1 << 32).is_err());
        let set: GtidSet = "00000000-0000-0000-0000-000000000001:1-5".parse().unwrap();
        let request = by_gtids(7, &set);
        assert_eq!(request.len(), 23 + 8 + 16 + 8 + 16);
        assert_eq!(request[23], 1);
        assert_eq!(request[request.len() - 8..], 6u64.to_le_bytes());
        let tagged: GtidSet = "00000000-0000-0000-0000-000000000001:red:1-5".parse().unwrap();
        let request = by_gtids(7, &tagged);
        assert_eq!((request[24], request[30], request[47]), (1, 1, 6));
    }

    #[test]
    fn a_pipeline_has_the_same_uuid_every_time() {
        assert_eq!(stable_uuid("orders"), stable_uuid("orders"));
        assert_ne!(stable_uuid("orders"), stable_uuid("orders2"));
        assert_eq!(stable_uuid("orders").len(), 36);
    }
}
