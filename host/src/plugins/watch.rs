use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hub_plugin_api::{Error, ErrorKind, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::Registry;

/// How often it is looked whether a folder that did not exist does now.
const LOOK_FOR_FOLDERS: Duration = Duration::from_secs(2);

/// Looks through the plugin folders whenever something in them changes, until it is dropped.
pub struct RegistryWatch {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Changed,
    Stop,
}

impl Registry {
    /// Picks up files that are put into the plugin folders, replaced or removed from now on, and calls `changed`
    /// after each scan that found something different.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`] when the system cannot watch folders.
    pub fn watch(&self, changed: impl Fn(&Self) + Send + 'static) -> Result<RegistryWatch> {
        let (messages, receiver) = mpsc::channel();
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Error::new(ErrorKind::ResourceExhausted, "The plugin folders cannot be watched")
                .with_source(error)
        };
        let sender = messages.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                let _ = sender.send(Message::Changed);
            }
        })
        .map_err(|error| failed(&error))?;
        let mut loop_ = WatchLoop { registry: self.clone(), watcher, watched: Vec::new() };
        loop_.watch_folders();
        let thread = thread::Builder::new()
            .name("hub plugins".into())
            .spawn(move || loop_.run(&receiver, &changed))
            .map_err(|error| failed(&error))?;
        // What came between the last scan and now.
        let _ = messages.send(Message::Changed);
        Ok(RegistryWatch { messages, thread: Some(thread) })
    }
}

impl Drop for RegistryWatch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct WatchLoop {
    registry: Registry,
    watcher: RecommendedWatcher,
    watched: Vec<std::path::PathBuf>,
}

impl WatchLoop {
    /// Starts to watch the folders that exist by now; whether there was a new one.
    fn watch_folders(&mut self) -> bool {
        let mut new = false;
        self.watched.retain(|path| path.is_dir());
        for folder in self.registry.options().folders.iter().filter(|folder| folder.problem.is_none()) {
            if self.watched.contains(&folder.path) || !folder.path.is_dir() {
                continue;
            }
            match self.watcher.watch(&folder.path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.push(folder.path.clone());
                    new = true;
                }
                Err(error) => {
                    tracing::warn!(path = %folder.path.display(), %error, "A plugin folder cannot be watched");
                }
            }
        }
        new
    }

    fn run(mut self, messages: &Receiver<Message>, changed: &dyn Fn(&Registry)) {
        let settle = self.registry.options().settle;
        let mut again_at: Option<Instant> = None;
        loop {
            let wait = again_at.map_or(LOOK_FOR_FOLDERS, |at| at.saturating_duration_since(Instant::now()));
            match messages.recv_timeout(wait.min(LOOK_FOR_FOLDERS)) {
                Ok(Message::Changed) => {
                    // A copy makes many events: one scan when it is quiet, at the latest after some time.
                    let latest = Instant::now() + settle * 4;
                    loop {
                        match messages.recv_timeout(settle) {
                            Ok(Message::Changed) if Instant::now() < latest => {}
                            Ok(Message::Changed) | Err(RecvTimeoutError::Timeout) => break,
                            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                        }
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let due = again_at.is_some_and(|at| at <= Instant::now());
                    if !self.watch_folders() && !due {
                        continue;
                    }
                }
            }
            self.watch_folders();
            if self.registry.rescan() {
                changed(&self.registry);
            }
            let transient =
                |file: &super::FileReport| file.refusal().is_some_and(|refusal| refusal.transient);
            again_at = self.registry.files().iter().any(transient).then(|| Instant::now() + settle);
        }
    }
}
