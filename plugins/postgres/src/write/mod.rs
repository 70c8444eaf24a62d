//! The strategy By Write Operation: rows and commit token become durable in one transaction.

mod catalog;
mod copy;
mod options;
mod replace;
mod segment;
mod settle;
mod table;
mod token;
mod writer;

pub(crate) use options::options;
pub(crate) use writer::writer;
