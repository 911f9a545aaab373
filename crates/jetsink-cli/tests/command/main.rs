//! The real command against a real broker.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

mod audit;
mod bad_input;
mod display;
mod doctor;
mod doctor_accounts;
mod doctor_cluster;
mod doctor_serve;
mod drill;
mod follow;
mod formats;
mod login;
mod many_reports;
mod metrics;
mod outages;
mod packaging;
mod publish;
mod refusals;
mod rotation;
mod serve;
#[cfg(target_os = "linux")]
mod signals;
mod spool;
mod stream;
mod support;
mod tail;
mod trail;
mod ttl;
