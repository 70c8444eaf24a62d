//! What the log of a server holds now, event by event.

use std::{
    future::poll_fn,
    task::{Poll, ready},
};

use hub_plugin_api::{Context, Result};

use super::{
    dump::Dump,
    event::{Format, Head},
    options::Options,
    position::LogPosition,
};
use crate::{config::Settings, flavor::Vendor};

/// Whose log is read, and how.
#[derive(Clone)]
pub struct LogAccess {
    pub settings: Settings,
    pub context: Context,
    pub options: Options,
    pub vendor: Vendor,
}

/// An event of the log.
pub struct Seen {
    pub head: Head,
    pub body: Vec<u8>,
    /// Its bytes in the file.
    pub length: u64,
}

impl Seen {
    /// The byte of the file that it begins at.
    pub fn offset(&self) -> u64 {
        u64::from(self.head.next).saturating_sub(self.length)
    }
}

/// The events of the log from a place on, up to its end now.
pub struct Log {
    dump: Dump,
    format: Format,
}

impl LogAccess {
    /// The log of the server of these settings.
    pub fn new(settings: &Settings, context: &Context, options: &Options, vendor: Vendor) -> Self {
        Self { settings: settings.clone(), context: context.clone(), options: options.clone(), vendor }
    }

    /// Reads from a byte of a file on.
    ///
    /// # Errors
    /// As [`Dump::open`].
    pub async fn open(&self, file: &str, offset: u64) -> Result<Log> {
        let position = LogPosition { file: file.to_owned(), offset, ..LogPosition::default() };
        let Self { settings, context, options, vendor } = self;
        let dump = Dump::open(settings, context, options, *vendor, None, &position).await?;
        Ok(Log { dump, format: Format::default() })
    }
}

impl Log {
    /// The next event; none at the end. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// When the connection is lost, or an event is broken.
    pub async fn next(&mut self) -> Result<Option<Seen>> {
        let Self { dump, format } = self;
        poll_fn(|context| {
            loop {
                if let Some(event) = dump.take()? {
                    let length = event.len() as u64;
                    let (head, body) = format.open(event)?;
                    return Poll::Ready(Ok(Some(Seen { head, body: body.to_vec(), length })));
                }
                if dump.has_ended() {
                    return Poll::Ready(Ok(None));
                }
                ready!(dump.poll_receive(context))?;
            }
        })
        .await
    }
}
