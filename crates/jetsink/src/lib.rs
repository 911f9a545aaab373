#![doc = include_str!("../README.md")]

// Layers, from the top: admin and sink; replay; pipeline; nats and publish; observe; spool; publisher (the
// port); outcome and circuit; message. A folder imports from layers below it only.
#[cfg(not(any(feature = "ring", feature = "aws-lc-rs", feature = "fips")))]
compile_error!("jetsink needs a provider of TLS: enable the feature ring, aws-lc-rs or fips");

mod admin;
mod circuit;
#[cfg(not(feature = "crash-points"))]
mod crash;
#[cfg(feature = "crash-points")]
#[doc(hidden)]
pub mod crash;
mod message;
mod nats;
mod observe;
mod outcome;
mod pipeline;
#[cfg(unix)]
#[doc(hidden)]
pub mod private_file;
mod publish;
mod publisher;
mod random;
mod replay;
mod sink;
mod spool;
mod sync;

// Connect to the broker.
pub use nats::NatsPublisher;
pub use nats::connect::{ConnectCause, ConnectError, ConnectSettings, ServerAddress};
pub use nats::tls_provider::{TlsProvider, select_tls_provider};

// Make a sink, with a spool or without.
pub use publish::settings::{SettingsError, SinkSettings};
pub use replay::settings::{SpoolSettings, WhenUnconfirmed};
pub use sink::{AlreadyObserved, OpenSpool, Sink, SinkSpool};

// Turn an event into an envelope.
pub use message::binding::{Binding, BindingError, ContentMode, MessageIdRule};
pub use message::content::structured_headers;
pub use message::envelope::{Envelope, HeaderError, Headers, MessageId};
pub use message::event::{CloudEvent, EventError, UnreadableText};
pub use message::pattern::SubjectPattern;
pub use message::received::{BinaryEvent, BinaryEventError, EventTenant};
pub use message::rules::{EventRule, Validation};
pub use message::subject::{
    MAX_SUBJECT, MAX_TENANT_ID, Subject, SubjectError, TENANT_ID_DEFAULT_TOKEN,
    TENANT_ID_PLACEHOLDER, TenantPolicy, check_tenant_id, encode_token,
};
pub use message::template::SubjectTemplate;

// Emit it, and read the result.
pub use outcome::{
    Acknowledgement, CircuitOpen, ConnectionEnd, Delivery, EmitError, FailedEmit, Known,
    PublishError, PushError, Receipt, Refusal, RequestError, Scope, SpoolError, SpoolFailed,
    Unavailable,
};
pub use pipeline::Pipeline;
pub use publisher::window::WindowSize;

// Watch the sink.
pub use circuit::State as CircuitState;
pub use outcome::{LastFailure, SpoolLoss, SpoolStatus};
pub use publish::admission::{MAX_FAILING_SUBJECTS, MAX_LISTED_SUBJECTS};
pub use sink::status::{FailingSubject, SinkStatus, StatusWatch};

// The port and its tools: another transport, retries of its own.
pub use publish::retry::with_retry;
pub use publisher::baseline::{Baseline, Baselines};
pub use publisher::look_up::{GapReason, LookUpGap, StoredId, StoredIds};
pub use publisher::window::{Window, WindowResult};
pub use publisher::{ConnectionState, PerMessageWindow, Publisher};

// Tools for operators: streams, their messages, and the file of a spool.
pub use admin::Admin;
pub use admin::offline_spool::{DeadLetter, OfflineSpool, SpoolCheck, SpooledEvent, SubjectUsage};
pub use admin::query::{StreamContent, StreamQuery, StreamStart};
pub use admin::reader::{StoredEvent, StreamReader};
pub use admin::streams::{
    StreamChange, StreamChangeKind, StreamError, StreamPlan, StreamSpec, StreamSpecError,
    StreamStorage,
};
pub use message::export::{ExportError, event_json};
pub use nats::stream_name::{StreamName, StreamNameError};

/// The samples of the repository's front page. It is no part of the package, and of no other build.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;

/// The samples of the book.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/quick-start.md")]
struct QuickStart;

#[cfg(test)]
mod tests;

/// The fuzzing counts the allocations per input.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: alloc_tracker::Allocator<std::alloc::System> = alloc_tracker::Allocator::system();
