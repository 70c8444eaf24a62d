//! From a pipeline file to rows at the destination. Nothing here can tell one kind of plugin from another.

mod spec;

pub use spec::{
    CommitSpec, EndpointSpec, OnLostSnapshot, OnRejected, PipelineSpec, RetrySpec, SecretReference,
};
