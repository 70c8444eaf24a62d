//! What the contract's text becomes in Rust.
#![expect(missing_docs, reason = "the contract's text describes them")]

wit_bindgen::generate!({
    path: "../../wit/1.0",
    world: "connector",
    pub_export_macro: true,
    default_bindings_module: "hub_connector::bindings",
});
