//! Strategy `write`: rows into tables, together with the commit token in one transaction.

mod cell;
mod changes;
mod digits;
mod fits;
mod json;
mod kept;
mod options;
mod replace;
mod rows;
mod settle;
mod table;
mod template;
mod time;
mod token;
mod writer;

pub use options::options;
pub use writer::writer;
