//! Opens native libraries: the only `unsafe` code of the host.

mod library;

pub(super) use library::{OpenError, open};
