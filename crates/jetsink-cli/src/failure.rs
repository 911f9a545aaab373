//! The errors that end the command, and their exit codes.

use std::net::SocketAddr;
use std::path::PathBuf;

use async_nats::jetstream::ErrorCode;
use jetsink::{
    ConnectError, RequestError, SettingsError, SpoolError, StreamError, StreamSpecError,
    SubjectError,
};
#[cfg(unix)]
use jetsink_serve::{GatewayError, ListenError};
#[cfg(unix)]
use nats_local::NatsLocalError;

#[cfg(unix)]
use crate::interrupt::Interrupt;

/// An error that ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("--subject: {0}")]
    Subject(#[from] SubjectError),
    #[error("{flag}{0}", flag = flag_of(.0))]
    Setting(#[from] SettingsError),
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{}: {source}", .path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("--rejected: {} is one of the files to publish", .0.display())]
    RejectedIsInput(PathBuf),
    #[error("--follow: {0}")]
    Follow(String),
    #[error("{place}: {reason}")]
    Toml { place: String, reason: String },
    #[error("{0}")]
    StreamSpec(#[from] StreamSpecError),
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("--metrics-listen {address}: {source}")]
    MetricsListen {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// Wrong usage, with its remedy.
    #[error("{0}")]
    Usage(String),
    #[cfg(unix)]
    #[error("{0}")]
    Broker(#[from] NatsLocalError),
    #[cfg(unix)]
    #[error("ended at once; nothing was checked")]
    Interrupted(Interrupt),
    #[error("stream {stream}: {}", why_unread(.stream, .error))]
    Read { stream: String, error: RequestError },
    /// Reading broke off and there is no time to wait for the broker.
    #[error("stream {stream}: {error}; not all of it was read")]
    BrokenOff { stream: String, error: RequestError },
    #[cfg(unix)]
    #[error("{0}")]
    Gateway(#[from] GatewayError),
    #[cfg(unix)]
    #[error("{0}")]
    Listen(#[from] ListenError),
    #[error("the runtime does not start: {0}")]
    Runtime(std::io::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Connect(ConnectError::Refused { .. }) => 3,
            Self::Stream(StreamError::Broker { error, .. }) if !error.is_refusal() => 3,
            Self::Read { error, .. } if !error.is_refusal() => 3,
            Self::BrokenOff { .. } => 3,
            #[cfg(unix)]
            Self::Broker(_) => 3,
            #[cfg(unix)]
            Self::Interrupted(interrupt) => interrupt.exit_code(),
            Self::Runtime(_) | Self::Stream(_) => 1,
            Self::Subject(_)
            | Self::Setting(_)
            | Self::Connect(_)
            | Self::Spool(_)
            | Self::RejectedIsInput(_)
            | Self::Follow(_)
            | Self::Usage(_)
            | Self::Read { .. }
            | Self::MetricsListen { .. }
            | Self::Toml { .. }
            | Self::StreamSpec(_)
            | Self::File { .. } => 2,
            #[cfg(unix)]
            Self::Gateway(_) | Self::Listen(_) => 2,
        }
    }
}

/// The flag with an invalid setting, for the beginning of a text.
fn flag_of(error: &SettingsError) -> &'static str {
    match error {
        SettingsError::Deadline(_) => "--deadline: ",
        SettingsError::SpoolLimit => "--spool-limit: ",
        SettingsError::MaxAge => "--spool-max-age: ",
        // No flag of the command sets it.
        _ => "",
    }
}

/// The reason why a stream can't be read, with its remedy.
fn why_unread(stream: &str, error: &RequestError) -> String {
    match error {
        RequestError::Denied => format!(
            "this user may not read it; allow it to publish to the JetStream API's STREAM.INFO.{stream} \
             and CONSUMER.CREATE.{stream}, and to $JS.FC.>"
        ),
        RequestError::Refused(refusal) if refusal.code == ErrorCode::STREAM_NOT_FOUND.0 => {
            format!("{error}; create it, or correct --stream")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn invalid_setting_names_its_flag() {
        for (error, flag) in [
            (SettingsError::Deadline(Duration::ZERO), "--deadline: "),
            (SettingsError::SpoolLimit, "--spool-limit: "),
            (SettingsError::MaxAge, "--spool-max-age: "),
        ] {
            let text = Failure::from(error.clone()).to_string();
            assert_eq!(text, format!("{flag}{error}"));
        }
    }
}
