//! The command line of Connector Hub.

fn main() {}
