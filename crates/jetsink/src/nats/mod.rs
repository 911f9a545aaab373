//! NATS JetStream: the only folder, with `admin/`, that uses async-nats.
//!
//! [`NatsPublisher`] (`publisher`) is the production [`Publisher`](crate::Publisher). The path of an
//! envelope: `shared` checks its size, and `request` registers a token in `answers` and sends the message over the
//! current `session` with a reply subject that ends in the token. `link` receives the acknowledgement, and
//! `wire` parses it. `window` does the same for many messages in flight, which `places` holds. `no_responders` finds the
//! reason if nothing receives a subject, and `reasons` shares it among the publishes of that subject; those of a window
//! wait for it in `unreceived`.
//!
//! `session` is one client with one connection, `reconnect` opens the next one by `dial`, and `members` finds the
//! cluster's servers. `suspects` and `given_up` track events for which a server may end connections, `alone` sends such an event, and `company` keeps
//! others away from it. `connect/` has the
//! settings and their errors, `tls_provider` selects the process's provider of TLS, `api` and `question` the requests to
//! the JetStream API with names that `stream_name` has checked, `failure` classifies their failures, and `read/` has the
//! look-up before replay.

mod alone;
mod answers;
#[cfg(test)]
#[path = "../tests/answers_trial.rs"]
mod answers_trial;
pub(crate) mod api;
mod company;
pub(crate) mod connect;
mod dial;
pub(crate) mod failure;
mod given_up;
mod link;
mod members;
mod no_responders;
mod places;
pub(crate) mod publisher;
pub(crate) mod question;
pub(crate) mod read;
mod reasons;
mod reconnect;
mod request;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod stream_name;
pub(crate) mod suspects;
pub(crate) mod tls_provider;
mod turn;
mod unreceived;
mod window;
pub(crate) mod wire;

pub use publisher::NatsPublisher;
