#![doc = include_str!("../README.md")]

mod builder;
mod port;
mod shared;
mod sink;
mod spool_folder;
mod tenant;

pub use builder::JetStreamEventSinkBuilder;
pub use jetsink::{
    ConnectError, ConnectSettings, SpoolError, SpoolSettings, SubjectError, TenantPolicy,
    with_retry,
};
pub use jetsink::{TENANT_ID_DEFAULT_TOKEN, TENANT_ID_PLACEHOLDER};
#[doc(hidden)]
pub use port::Publisher;
pub use sink::JetStreamEventSink;
#[doc(hidden)]
pub use sink::ReconnectState;
pub use tenant::{resolve_tenant_subject, try_resolve_tenant_subject};
