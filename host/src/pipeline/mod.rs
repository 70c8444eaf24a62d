//! From a pipeline file to rows at the destination. Nothing here can tell one kind of plugin from another.

mod spec;

pub use spec::{
    CommitSpec, EndpointSpec, FILE_VERSION, FileError, OnLostSnapshot, OnRejected, PipelineFile, PipelineSpec, Place,
    Problem, RetrySpec, SecretReference, connector_schema, pipeline_schema,
};
