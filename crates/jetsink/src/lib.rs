#![doc = include_str!("../README.md")]

mod acknowledged;
pub mod backoff;
pub mod binding;
pub mod circuit;
pub mod connect;
#[cfg(not(feature = "crash-points"))]
mod crash;
#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash;
mod direct;
mod elsewhere;
mod emits;
mod envelope;
pub mod environment;
mod error;
pub mod event;
mod expiry;
mod export;
mod history;
mod meters;
mod nats;
pub mod pipeline;
mod publisher;
mod replay;
mod reporter;
pub mod retry;
mod routing;
mod scopes;
mod settle;
mod sink;
mod sink_settings;
mod spans;
mod spool;
mod status;
pub mod streams;
pub mod subject;
mod sync;
mod window;

#[doc(inline)]
pub use binding::{Binding, BindingError, ContentMode, MessageIdRule};
#[doc(inline)]
pub use connect::{ConnectCause, ConnectError, ConnectSettings};
pub use envelope::{Envelope, HeaderError, Headers, MessageId};
pub use error::{
    CircuitOpen, EmitError, FailedEmit, Known, PublishError, Refusal, Scope, SpoolFailed,
};
pub use export::{ExportError, event_json};
pub use nats::{NatsPublisher, StoredEvent, StreamQuery, StreamReader, StreamReading, StreamStart};
#[doc(inline)]
pub use pipeline::Pipeline;
pub use publisher::{Acknowledgement, Connection, Publisher, StoredIds};
#[doc(inline)]
pub use retry::with_retry;
pub use scopes::MOST_FAILING_SUBJECTS;
pub use sink::{Delivery, Receipt, Sink};
pub use sink_settings::{SettingsError, SinkSettings};
pub use spool::{
    BuriedEvent, SpoolCheck, SpoolError, SpoolFile, SpoolLoss, SpoolSettings, SpoolStatus,
    SpooledEvent,
};
pub use status::{LastFailure, Status, StatusWatch};
#[doc(inline)]
pub use subject::{Subject, SubjectError, SubjectTemplate, TenantPolicy};
pub use window::{EachAlone, Sent, Window};

/// The samples of the repository's front page. It is no part of the package, and of no other build.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;

#[cfg(test)]
mod circuit_tests;
#[cfg(test)]
mod expiry_tests;
#[cfg(test)]
mod growth_tests;
#[cfg(test)]
mod hand_over_tests;
#[cfg(test)]
mod pipeline_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod settle_tests;
#[cfg(test)]
mod simulated_broker;
#[cfg(test)]
mod sink_tests;
#[cfg(test)]
mod subject_tests;
#[cfg(test)]
mod trials;

/// The fuzzing counts what an input makes us allocate.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: alloc_tracker::Allocator<std::alloc::System> = alloc_tracker::Allocator::system();
