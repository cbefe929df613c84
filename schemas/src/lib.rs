//! The language AFU-9's parts speak: ids, subjects, wire messages, workflow definitions and tool
//! contracts.
//!
//! Every other crate depends on this one and on nothing else of AFU-9's to exchange data.
//!
//! **Architecture Invariant:** this crate performs no input or output, reads no clock and knows no
//! broker, database or HTTP library. What is `Serialize` here is a wire type; a change to one is a
//! change to the golden files under `schemas/tests/golden`.

pub mod artifact;
pub mod codec;
pub mod definition;
pub mod error;
pub mod id;
pub mod message;
pub mod subject;
pub mod time;
pub mod tool;
pub mod view;

pub use artifact::ArtifactRef;
pub use error::{ErrorClass, StepError};
pub use id::{
    DeadLetterId, DefinitionHash, DeliveryId, ExecutionId, InstanceId, JobId, Partition,
    PartitionCount, RequestId, ScheduleId, ToolName, WorkerId, WorkerKind, WorkflowId,
};
pub use subject::Lane;
pub use time::Timestamp;
