//! Makes TPC-H data.
fn main() {}
