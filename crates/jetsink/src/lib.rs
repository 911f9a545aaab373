#![doc = include_str!("../README.md")]

// From the top layer to the bottom one: a layer uses only those below it.
mod admin;
pub mod circuit;
mod message;
mod nats;
mod observe;
mod outcome;
pub mod pipeline;
mod publish;
mod publisher;
mod replay;
mod sink;
mod spool;

#[cfg(not(feature = "crash-points"))]
mod crash;
#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash;
mod random;
mod sync;

// Emitting an event: connect, make the sink, bind the event, emit it, read the result.
#[doc(inline)]
pub use message::binding::{Binding, BindingError, ContentMode, MessageIdRule};
pub use message::envelope::{Envelope, HeaderError, Headers, MessageId};
#[doc(inline)]
pub use message::subject::{Subject, SubjectError, SubjectTemplate, TenantPolicy};
#[doc(inline)]
pub use message::{binding, event, subject};
pub use nats::NatsPublisher;
#[doc(inline)]
pub use nats::connect;
#[doc(inline)]
pub use nats::connect::environment;
#[doc(inline)]
pub use nats::connect::{ConnectCause, ConnectError, ConnectSettings};
pub use outcome::{
    Acknowledgement, CircuitOpen, Delivery, EmitError, FailedEmit, Known, LastFailure,
    PublishError, Receipt, Refusal, Scope, SpoolError, SpoolFailed,
};
#[doc(inline)]
pub use pipeline::Pipeline;
pub use publish::admission::MOST_FAILING_SUBJECTS;
pub use publish::settings::{SettingsError, SinkSettings};
pub use sink::Sink;
pub use sink::status::{Status, StatusWatch};

pub use spool::{
    BuriedEvent, SpoolCheck, SpoolFile, SpoolLoss, SpoolSettings, SpoolStatus, SpooledEvent,
};

#[doc(inline)]
pub use circuit::backoff;
#[doc(inline)]
pub use publish::retry;
#[doc(inline)]
pub use publish::retry::with_retry;
pub use publisher::window::{Sent, Window};
pub use publisher::{Connection, EachAlone, Publisher, StoredIds};

pub use admin::query::{StreamQuery, StreamReading, StreamStart};
pub use admin::reader::{StoredEvent, StreamReader};
#[doc(inline)]
pub use admin::streams;
pub use message::export::{ExportError, event_json};

/// The samples of the repository's front page. It is no part of the package, and of no other build.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;

#[cfg(test)]
mod tests;

/// The fuzzing counts what an input makes us allocate.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: alloc_tracker::Allocator<std::alloc::System> = alloc_tracker::Allocator::system();
