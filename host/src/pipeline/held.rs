use crate::plugins::Supervisor;

/// An object of a plugin's, dropped on a thread of the plugin's: a drop may hang as any call may.
pub(crate) struct Held<T: Send + 'static> {
    object: Option<T>,
    what: &'static str,
    supervisor: Supervisor,
}

impl<T: Send + 'static> Held<T> {
    /// Holds an object. `what` names its drop in messages.
    pub(crate) fn new(supervisor: &Supervisor, what: &'static str, object: T) -> Self {
        Self { object: Some(object), what, supervisor: supervisor.clone() }
    }

    /// Hands the object out; whoever takes it drops it.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.object.take()
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if let Err(error) = self.supervisor.dispose(self.what, object) {
            tracing::warn!(%error, "An object of a plugin's did not end well");
        }
    }
}
