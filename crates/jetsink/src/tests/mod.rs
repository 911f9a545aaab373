//! Unit tests of more than one file, the simulated brokers they use, and the trials that need no server.

mod circuit;
mod codes;
mod expiry;
mod growth;
mod hand_over;
mod names;
mod pipeline;
mod receipt;
mod reconcile;
mod repeats;
mod replay;
pub(crate) mod simulated_broker;
mod sink;
mod streams;
mod subject;
mod texts;
mod trials;
mod unconfirmed;
