//! Where the log stood at a time.
//!
//! The last file that was begun before the time is read from its beginning up to the first transaction that was
//! committed then or later; MariaDB's log has whole seconds.

use std::{future::poll_fn, task::ready};

use hub_plugin_api::{
    Context, Error, Result, arrow::compute::kernels::cast_utils::string_to_timestamp_nanos,
};

use super::{
    dump::Dump,
    event::{self, Format, Gtid, Head, code},
    gtid::Gtids,
    options::Options,
    position::LogPosition,
    server::{LogServer, lost},
};
use crate::config::Settings;

/// Finds the place behind all that was committed before a time.
pub struct Search<'a> {
    pub settings: &'a Settings,
    pub context: &'a Context,
    pub options: &'a Options,
}

/// An event as it is needed here.
struct Seen {
    head: Head,
    body: Vec<u8>,
    /// Its bytes in the file.
    length: u64,
}

/// A file of the log, event by event, up to its end now.
struct Log {
    dump: Dump,
    format: Format,
}

impl Log {
    async fn next(&mut self) -> Result<Option<Seen>> {
        let Self { dump, format } = self;
        poll_fn(|context| {
            loop {
                if let Some(event) = dump.take()? {
                    let length = event.len() as u64;
                    let (head, body) = format.open(event)?;
                    return std::task::Poll::Ready(Ok(Some(Seen { head, body: body.to_vec(), length })));
                }
                if dump.has_ended() {
                    return std::task::Poll::Ready(Ok(None));
                }
                ready!(dump.poll_receive(context))?;
            }
        })
        .await
    }
}

impl Search<'_> {
    /// The position of a time in RFC 3339.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for what is no time,
    /// [`hub_plugin_api::ErrorKind::PositionLost`] when the log does not go back so far.
    pub async fn at(&self, server: &mut LogServer, time: &str) -> Result<LogPosition> {
        let nanos = string_to_timestamp_nanos(time)
            .map_err(|error| Error::config("start_at", format!("`{time}` is no time")).with_source(&error))?;
        let micros = nanos.div_euclid(1000);
        let mut files = server.files().await?;
        while let Some(file) = files.pop() {
            let mut log = self.open(server, &file).await?;
            let begun = loop {
                match log.next().await? {
                    Some(seen) if seen.head.code == code::FORMAT => break seen.head.timestamp,
                    Some(_) => {}
                    None => break u32::MAX,
                }
            };
            if i64::from(begun) * 1_000_000 <= micros {
                return self.within(server, log, file, micros).await;
            }
        }
        Err(lost(format!("The log does not go back to `{time}`"))
            .with_hint("Start at `earliest` for all that the log still has"))
    }

    async fn open(&self, server: &LogServer, file: &str) -> Result<Log> {
        let position = LogPosition {
            server: server.id.clone(),
            file: file.to_owned(),
            offset: 4,
            ..LogPosition::default()
        };
        let dump =
            Dump::open(self.settings, self.context, self.options, server.vendor(), None, &position).await?;
        Ok(Log { dump, format: Format::default() })
    }

    async fn within(
        &self,
        server: &mut LogServer,
        mut log: Log,
        file: String,
        micros: i64,
    ) -> Result<LogPosition> {
        let mut position = server.start_of_file(file).await?;
        let mut gtids = position.gtids(server.vendor())?;
        let mut open = None;
        while let Some(Seen { head, body, length }) = log.next().await? {
            match head.code {
                code::ROTATE => (position.file, position.offset) = event::place(head, &body)?,
                code::GTID | code::ANONYMOUS_GTID | code::TAGGED_GTID | code::MARIADB_GTID => {
                    let gtid = Gtid::parse(head, &body)?;
                    let committed = match &gtid {
                        Gtid::MySql { committed_micros, .. } => i64::try_from(*committed_micros).unwrap_or(0),
                        Gtid::MariaDb { .. } => 0,
                    };
                    let committed =
                        if committed == 0 { i64::from(head.timestamp) * 1_000_000 } else { committed };
                    see(&mut gtids, open.take());
                    // Whole seconds are not before a time within them.
                    if committed >= micros || committed + 1_000_000 > micros && committed % 1_000_000 == 0 {
                        position.offset = u64::from(head.next).saturating_sub(length);
                        break;
                    }
                    open = Some(gtid);
                }
                _ => {}
            }
            if head.next != 0 && head.code != code::ROTATE {
                position.offset = u64::from(head.next);
            }
        }
        see(&mut gtids, open);
        position.gtids = gtids.map(|gtids| gtids.to_string());
        Ok(position)
    }
}

/// A transaction came to its end.
fn see(gtids: &mut Option<Gtids>, gtid: Option<Gtid>) {
    match (gtid, gtids) {
        (Some(Gtid::MySql { id: Some((source, number)), .. }), Some(Gtids::MySql(set))) => {
            set.add(source, number);
        }
        (Some(Gtid::MariaDb { id, .. }), Some(Gtids::MariaDb(position))) => position.set(id),
        _ => {}
    }
}
