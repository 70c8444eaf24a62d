//! Nothing but a dependency list.
//!
//! Cargo builds a crate once for every set of features that somebody asks for, and which features that are
//! depends on the crates built together: `-p connector-sqlite` alone would compile another tokio, another syn
//! and another smallvec than the whole workspace does. Every member depends on this crate, whose manifest asks for
//! all of them at once, so there is one build of each. `cargo xtask check` fails when that is no longer so.
