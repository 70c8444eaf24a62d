use std::{fmt, sync::Arc};

/// Makes a blocked call on one object return within a second, from any thread.
///
/// An author whose calls are plain `async fn` needs none: the glue drops the future of a cancelled call. One whose
/// driver blocks a thread hands out what interrupts it.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Fn() + Send + Sync>);

impl Canceller {
    /// Runs `cancel` when the object is cancelled.
    pub fn new(cancel: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(cancel))
    }

    /// Nothing to do beyond dropping the future.
    pub fn none() -> Self {
        Self::new(|| {})
    }

    /// Cancels. More than once is the same as once.
    pub fn cancel(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Canceller")
    }
}
