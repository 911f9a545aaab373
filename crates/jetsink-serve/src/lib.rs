#![doc = include_str!("../README.md")]

// Layers, from the top: admin and listen; status; gateway and request; deliver and identity, intake and access; protocol and
// answer; meters, readiness, settings, file_state and one_line serve several.
mod access;
mod access_log;
mod admin;
mod answer;
mod deliver;
mod file_state;
mod gateway;
mod identity;
mod intake;
mod listen;
mod meters;
mod one_line;
mod protocol;
mod readiness;
mod reload;
mod request;
mod settings;
mod status;

pub use access::token::NewToken;
pub use access::{Access, AccessError};
pub use access_log::ACCESS_LOG;
pub use admin::{AdminPages, BrokerConnection};
pub use answer::problem::ProblemKind;
pub use gateway::Gateway;
pub use listen::{ListenError, Listener, Server, ServerSettings, TlsError, TlsSettings};
pub use readiness::Readiness;
pub use reload::Reloader;
pub use settings::{GatewayError, GatewayLimit, GatewaySettings, MaxBytes, Route};
