//! The example holds to the contract, and the page that quotes it is right.

mod conformance;
mod files;
mod page;
