//! MySQL and MariaDB: two connectors of one plugin.
#![forbid(unsafe_code)]
