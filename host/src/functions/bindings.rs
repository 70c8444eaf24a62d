//! What the contract's text becomes in Rust.

wasmtime::component::bindgen!({
    path: "../sdk-wasm/wit/1.0",
    world: "custom-function",
    with: { "connector-hub:plugin/connection.cursor": super::guest::Cursor },
    imports: { default: trappable },
    exports: { default: async },
});
