//! End to end, with nothing installed.

mod handover;
