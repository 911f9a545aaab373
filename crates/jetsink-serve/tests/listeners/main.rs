//! Listeners, credentials, limits, and the orderly stop.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod access;
mod addresses;
mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod headers;
mod stop;
mod support;
mod tls;
