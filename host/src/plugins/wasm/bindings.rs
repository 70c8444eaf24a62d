//! What the contract's text becomes in Rust.

wasmtime::component::bindgen!({
    path: "../sdk-wasm/wit/1.0",
    world: "connector",
    imports: { default: trappable },
    exports: { default: async },
});
