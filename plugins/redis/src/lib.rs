//! Redis: a connector for single servers, Sentinel and Cluster.
#![forbid(unsafe_code)]
