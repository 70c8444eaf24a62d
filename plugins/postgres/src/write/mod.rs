//! The strategy By Write Operation: rows and commit token become durable in one transaction.

mod bound;
mod catalog;
mod changes;
mod copy;
mod options;
mod replace;
mod settle;
mod statements;
mod table;
mod template;
mod token;
mod writer;

pub(crate) use options::options;
pub(crate) use writer::writer;
