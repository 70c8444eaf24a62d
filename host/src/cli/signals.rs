//! SIGINT and SIGTERM stop a run: the first one drains and commits, the second one cancels.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

use connector_hub::{
    api::{Error, ErrorKind},
    pipeline::StopSignal,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Which signal came first; 0 is none.
#[derive(Clone, Default)]
pub struct FirstSignal(Arc<AtomicI32>);

impl FirstSignal {
    /// The number of the signal that came first.
    pub fn number(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::SeqCst)).ok().filter(|number| *number > 0)
    }
}

/// Hands signals to `stop` from now on. `told` hears of each, with how many there were.
pub fn listen(stop: &StopSignal, told: impl Fn(u32) + Send + 'static) -> Result<FirstSignal, Error> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Internal, "Signals cannot be listened for").with_source(&error)
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let (first, stop) = (FirstSignal::default(), stop.clone());
    let seen = first.clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for (count, signal) in (1..).zip(signals.forever()) {
                let _ = seen.0.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
                stop.request();
                told(count);
            }
        })
        .map_err(failed)?;
    Ok(first)
}
