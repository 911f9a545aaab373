//! Real nats-server processes on loopback, and the faults that happen to them: for tests and drills.
//!
//! ```no_run
//! use nats_local::NatsServer;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), nats_local::NatsLocalError> {
//! let mut server = NatsServer::start().await?;
//! server.create_stream("EVENTS", &["events.>"]).await?;
//! server.freeze()?;
//! server.thaw()?;
//! server.kill()?;
//! server.start_again().await?; // same port, same files
//! # Ok(())
//! # }
//! ```
//!
//! [`NatsCluster`] is three of them, [`TcpProxy`] a way to one that can be cut, slowed or reset.

mod audit;
mod binary;
mod builder;
mod cluster;
#[cfg(feature = "examples")]
mod example;
mod jwt;
mod proxy;
mod server;
mod tls;

pub use audit::{Audit, StoredMessage, audit, stored, stored_after};
pub use binary::{
    NATS_SERVER_VERSION, nats_server_binary, nats_server_binary_in, nats_server_installed,
};
pub use builder::NatsServerBuilder;
pub use cluster::NatsCluster;
#[cfg(feature = "examples")]
pub use example::example;
pub use jwt::{JwtAccount, JwtUser};
pub use proxy::{TcpProxy, Way};
pub use server::NatsServer;
pub use tls::TlsFiles;

use std::path::PathBuf;

/// Why an operation on a local server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsLocalError {
    /// There is no nats-server and none could be fetched.
    #[error("no nats-server: {0}; install one, or set NATS_SERVER_BIN to its path")]
    NoBinary(String),
    /// The server did not come up.
    #[error("nats-server did not come up: {reason}; the end of its log: {log_end}")]
    NotReady {
        /// What was waited for.
        reason: String,
        /// The last lines that it wrote.
        log_end: String,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A signal could not be sent.
    #[error("signal to nats-server {pid}: {reason}")]
    Signal {
        /// The process.
        pid: i32,
        /// Why.
        reason: String,
    },
    /// An example could not be built.
    #[cfg(feature = "examples")]
    #[error("example {0} could not be built")]
    Example(String),
    /// The server refused a request of this crate.
    #[error("{what}: {reason}")]
    Broker {
        /// What was tried.
        what: String,
        /// Its answer.
        reason: String,
    },
}

impl NatsLocalError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn broker<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |error| Self::Broker {
            what,
            reason: error.to_string(),
        }
    }
}

/// The workspace's target directory, where fetched binaries are kept.
fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")),
        PathBuf::from,
    )
}
