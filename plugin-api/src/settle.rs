//! What a writer keeps of rows that it sent, until their destination has taken or refused every one of them.

mod halves;
mod segment;

pub use halves::Halves;
pub use segment::{Chunk, RowPlace, Segment, bytes_of};
