//! Tests of the contract from the outside, as an author sees it.

// The template of a new plugin is compiled as it is: its placeholders are names like any other.
extern crate self as connector_plugin_name;

pub use template::Tables;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fold;
#[path = "../../../host/src/cli/templates/plugin/src/lib.rs.in"]
mod template;
#[path = "../../../host/src/cli/templates/plugin/tests/conformance.rs.in"]
mod template_conformance;
