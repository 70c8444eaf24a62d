//! Looking up a name is a message to whoever owns it, so guests of either world look up what they may reach and nothing else.

/// Puts a question in front of WASI's `resolve-addresses`: `$may` answers for a guest and a name, and notes a denial.
/// Everything else of the interface stays WASI's own.
macro_rules! guard_names {
    ($guest:ty, $may:expr) => {
        const _: () = {
            use wasmtime::component::Resource;
            use wasmtime_wasi::{
                p2::{
                    DynPollable, Network, SocketError,
                    bindings::{
                        io::error::Error as IoError,
                        sockets::{
                            ip_name_lookup::{self, ResolveAddressStream},
                            network::{self, ErrorCode, IpAddress},
                        },
                    },
                },
                sockets::WasiSocketsView,
            };

            impl network::Host for $guest {
                fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
                    network::Host::convert_error_code(&mut self.sockets(), error)
                }

                fn network_error_code(
                    &mut self,
                    error: Resource<IoError>,
                ) -> wasmtime::Result<Option<ErrorCode>> {
                    network::Host::network_error_code(&mut self.sockets(), error)
                }
            }

            impl network::HostNetwork for $guest {
                fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
                    network::HostNetwork::drop(&mut self.sockets(), network)
                }
            }

            impl ip_name_lookup::Host for $guest {
                fn resolve_addresses(
                    &mut self,
                    network: Resource<Network>,
                    name: String,
                ) -> Result<Resource<ResolveAddressStream>, SocketError> {
                    let may: fn(&Self, &str) -> bool = $may;
                    if !$crate::functions::HasShell::outside(self, |guest| may(guest, &name)) {
                        return Err(ErrorCode::AccessDenied.into());
                    }
                    ip_name_lookup::Host::resolve_addresses(&mut self.sockets(), network, name)
                }
            }

            impl ip_name_lookup::HostResolveAddressStream for $guest {
                fn resolve_next_address(
                    &mut self,
                    stream: Resource<ResolveAddressStream>,
                ) -> Result<Option<IpAddress>, SocketError> {
                    ip_name_lookup::HostResolveAddressStream::resolve_next_address(
                        &mut self.sockets(),
                        stream,
                    )
                }

                fn subscribe(
                    &mut self,
                    stream: Resource<ResolveAddressStream>,
                ) -> wasmtime::Result<Resource<DynPollable>> {
                    ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.sockets(), stream)
                }

                fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
                    ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), stream)
                }
            }
        };
    };
}

pub(crate) use guard_names;
