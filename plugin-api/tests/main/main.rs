//! Tests of the contract from the outside, as an author sees it.

mod conformance;
mod fold;
