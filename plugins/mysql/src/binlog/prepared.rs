//! The rows of an XA transaction, read where it was prepared while the stream stands at its commit.

use std::{
    future::poll_fn,
    task::{Poll, ready},
    time::Duration,
};

use hub_plugin_api::{Context, Error, ErrorKind, Result};
use tokio::time;

use super::{dump::Dump, event::Format, follow::Follower, options::Options};
use crate::{config::Settings, flavor::Vendor};

/// Reads prepared transactions.
pub struct PreparedReader {
    settings: Settings,
    context: Context,
    options: Options,
    vendor: Vendor,
    open: Option<(Dump, Format)>,
}

impl PreparedReader {
    /// Nothing is read yet.
    pub fn new(settings: &Settings, context: &Context, options: &Options, vendor: Vendor) -> Self {
        Self {
            settings: settings.clone(),
            context: context.clone(),
            options: options.clone(),
            vendor,
            open: None,
        }
    }

    /// Gives the follower the rows that it needs; `false` when not all came in time. Stops when it has enough to hand over.
    ///
    /// # Errors
    /// [`ErrorKind::PositionLost`] when the log does not hold them any more.
    pub async fn read(&mut self, follower: &mut Follower, max_wait: Duration) -> Result<bool> {
        let Some(position) = follower.settles_from() else { return Ok(true) };
        if self.open.is_none() {
            let Self { settings, context, options, vendor, .. } = self;
            let dump = Dump::open(settings, context, options, *vendor, None, &position).await?;
            self.open = Some((dump, Format::default()));
        }
        let Some((dump, format)) = &mut self.open else { return Ok(true) };
        let reading = poll_fn(|context| {
            loop {
                while let Some(event) = dump.take()? {
                    let (head, body) = format.open(event)?;
                    if follower.apply_settled(head, body)? || follower.is_ready() {
                        return Poll::Ready(Ok::<(), Error>(()));
                    }
                }
                if dump.has_ended() {
                    let message = format!(
                        "The log does not hold an XA transaction any more that was prepared at `{}:{}`",
                        position.file, position.offset
                    );
                    return Poll::Ready(Err(Error::new(ErrorKind::PositionLost, message)
                        .with_hint("Begin again with `--from-scratch`")));
                }
                ready!(dump.poll_receive(context))?;
            }
        });
        match time::timeout(max_wait, reading).await {
            Ok(result) => result?,
            Err(_) => return Ok(false),
        }
        if !follower.is_settling() {
            self.open = None;
        }
        Ok(true)
    }
}
