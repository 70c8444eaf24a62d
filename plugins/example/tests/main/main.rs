//! The example holds to the contract, and the page that quotes it is right.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod files;
#[cfg(test)]
mod page;
