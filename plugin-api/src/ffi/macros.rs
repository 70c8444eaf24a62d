/// Makes the library of a plugin: `export_connectors!("id" => Connector)`, one pair a connector.
///
/// The ids are those of the connectors' specs; they are named here as well because the host reads them from the file
/// before it runs any code of the plugin. `requires_api = "1.2.0",` before the pairs says the oldest version of the
/// API that the plugin can work with; without it that is 1.0.0.
#[macro_export]
macro_rules! export_connectors {
    (requires_api = $requires:literal, $($id:literal => $connector:expr),+ $(,)?) => {
        const _: () = {
            #[cfg(panic = "abort")]
            compile_error!("a plugin must be built with panic = \"unwind\": its panics must not end the host");

            const NOTE: $crate::ffi::abi::Note = $crate::ffi::abi::Note {
                api: $crate::API_VERSION,
                requires_api: $requires,
                plugin: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                connectors: &[$($id),+],
            };

            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__hub_note"))]
            #[cfg_attr(windows, unsafe(link_section = ".hubnote"))]
            #[cfg_attr(not(any(target_vendor = "apple", windows)), unsafe(link_section = ".hub_note"))]
            static NOTE_BYTES: [u8; $crate::ffi::abi::note_length(&NOTE)] = $crate::ffi::abi::note_bytes(&NOTE);

            extern "C" fn plugin() -> $crate::ffi::abi::Answer<$crate::ffi::abi::ObjectRef> {
                $crate::ffi::export_library(&NOTE_BYTES, || {
                    vec![$(($id, ::std::sync::Arc::new($connector) as ::std::sync::Arc<dyn $crate::Connector>)),+]
                })
            }

            fn root() -> $crate::ffi::abi::PluginRootRef {
                $crate::ffi::abi::root_module(plugin)
            }

            extern "C" fn constructor() -> $crate::ffi::abi::reexport::RootModuleResult {
                $crate::ffi::abi::construct(root)
            }

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: $crate::ffi::abi::reexport::LibHeader =
                $crate::ffi::abi::library_header(constructor);
        };
    };
    ($($id:literal => $connector:expr),+ $(,)?) => {
        $crate::export_connectors!(requires_api = "1.0.0", $($id => $connector),+);
    };
}
