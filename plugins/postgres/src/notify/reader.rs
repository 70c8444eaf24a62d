//! A reader whose work is done by a task: the host's calls only take what it has made.

use std::{future::Future, time::Duration};

use hub_plugin_api::{Error, Event, Reader, Result, async_trait};
use tokio::{sync::mpsc, task::JoinHandle, time};

/// Events that may wait for the host. A batch of rows is one: with the one in the making there are at most two.
const MAX_WAITING: usize = 1;

/// Where the task puts its events.
#[derive(Clone)]
pub struct Events(mpsc::Sender<Result<Event>>);

impl Events {
    /// Hands over an event, when the host has taken those before.
    pub async fn send(&self, event: Event) {
        // Without a reader the task is about to be ended.
        drop(self.0.send(Ok(event)).await);
    }
}

/// Takes the events of a task, which ends with it.
pub struct TaskReader {
    events: mpsc::Receiver<Result<Event>>,
    task: JoinHandle<()>,
}

impl TaskReader {
    /// Starts the task that `work` makes.
    pub fn start<F>(work: impl FnOnce(Events) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        let work = work(Events(sender.clone()));
        let task = tokio::spawn(async move {
            let end = match work.await {
                Ok(()) => Ok(Event::End),
                Err(error) => Err(error),
            };
            drop(sender.send(end).await);
        });
        Self { events, task }
    }
}

#[async_trait]
impl Reader for TaskReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        match time::timeout(max_wait, self.events.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => Err(Error::internal("The task of the reader has ended")),
            Err(_) => Ok(Event::Idle),
        }
    }
}

impl Drop for TaskReader {
    fn drop(&mut self) {
        // Its sessions end what they are doing on the server.
        self.task.abort();
    }
}
