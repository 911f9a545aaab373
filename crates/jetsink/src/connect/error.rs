//! Why there is no connection: one line, without credentials.

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::ConnectErrorKind;

use super::DEFAULT_SERVER;

/// Why there is no connection. The texts hold no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A server URL that can't be read.
    #[error(
        "nats connect: server {number} of the list is no NATS URL: {reason}; write it like {DEFAULT_SERVER}"
    )]
    Server {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// A setting that doesn't hold.
    #[error("nats connect: {what}: {reason}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file that can't be read.
    #[error("nats connect: {what} {}: {reason}", .path.display())]
    File {
        /// What it was to hold.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// Why it can't be read.
        reason: String,
    },
    /// No server let us in.
    #[error("nats connect to {servers} failed: {reason}")]
    Refused {
        /// The servers, without credentials.
        servers: String,
        /// What happened, and what to look at.
        reason: String,
    },
}

pub(super) const NO_ANSWER: &str = "no server answered in time";

/// What the client's error means, and what to look at.
pub(super) fn reason(error: &async_nats::ConnectError) -> String {
    let text = match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            "the broker refuses this login (authorization violation)"
        }
        ConnectErrorKind::Authentication => {
            "the login can't be used (authentication); check the seed or credentials file"
        }
        ConnectErrorKind::TimedOut => NO_ANSWER,
        ConnectErrorKind::Dns => "the host name has no address (DNS)",
        ConnectErrorKind::ServerParse => "no server to connect to",
        // Their causes name addresses, certificates and system errors, never the login.
        ConnectErrorKind::Tls | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            return causes(error);
        }
    };
    text.to_owned()
}

pub(super) fn file_error(
    what: &'static str,
    path: &Path,
    reason: &dyn fmt::Display,
) -> ConnectError {
    ConnectError::File {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
