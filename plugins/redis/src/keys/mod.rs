//! Strategy `keys`: keys that are named, and keys that patterns find.

mod fetch;
mod json;
mod options;
mod plan;
mod reader;
mod scan;
mod seen;
mod shape;
mod strings;

pub(crate) use fetch::{Entry, Fetcher as ScanFetch};
pub(crate) use json::{fields_json, fields_payload, text_or_hex, value_json};
pub(crate) use options::{KeysOptions, options};
pub(crate) use plan::plan;
pub(crate) use scan::Scan;
