//! Connect errors: one line each, without credentials.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use async_nats::ConnectErrorKind;
use async_nats::rustls::{AlertDescription, CertificateError, Error as TlsError, OtherError};

use super::servers::DEFAULT_SERVER;

/// The reason why a connection failed. The texts contain no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A server URL that can't be read.
    #[error(
        "nats connect: server {number} of the list is no NATS URL: {reason}; write it like {DEFAULT_SERVER}"
    )]
    Server {
        /// Its position in the list, from 1.
        number: usize,
        /// The problem.
        reason: String,
    },
    /// An invalid setting.
    #[error("nats connect: {what}: {reason}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The problem.
        reason: String,
    },
    /// A file that can't be read.
    #[error("nats connect: {what} {}: {reason}", .path.display())]
    File {
        /// Its expected content, such as `credentials`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The reason why it can't be read.
        reason: String,
    },
    /// No server accepted the connection.
    #[error("nats connect to {servers} failed: {reason}")]
    Refused {
        /// The servers, without credentials.
        servers: String,
        /// The cause, for programs that choose a remedy by it.
        cause: ConnectCause,
        /// The cause and the remedy, for people.
        reason: String,
    },
}

/// The cause of [`ConnectError::Refused`], as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectCause {
    /// The server refuses this login: user and password, token, NKey or JWT.
    LoginRefused,
    /// The login cannot be used, such as a malformed seed or credentials file.
    LoginUnusable,
    /// The authority of the server's certificate is not trusted.
    UntrustedAuthority,
    /// The server presents the certificate of an authority (CA:TRUE) as its own. No authority can make it acceptable.
    AuthorityAsServer,
    /// The server's certificate is not accepted for another reason, such as its names or its time.
    ServerCertificateRefused,
    /// The server requires a client certificate.
    ClientCertificateRequired,
    /// The server does not accept the client certificate.
    ClientCertificateRefused,
    /// No server answered in time.
    TimedOut,
    /// The host name has no address.
    UnresolvedName,
    /// Any other cause, such as a closed port or a failed TLS handshake.
    Other,
}

pub(super) const NO_ANSWER: &str = "no server answered in time";

/// Returns the meaning of the client's error and the remedy.
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
            match cause(error) {
                ConnectCause::AuthorityAsServer => {
                    "the server's certificate is one of an authority (CA:TRUE), which can't be a server's own; \
                     issue one with CA:FALSE"
                }
                _ => return causes(error),
            }
        }
    };
    text.to_owned()
}

/// The cause by the client's error kind; for TLS by the alert or the certificate's fault.
pub(super) fn cause(error: &async_nats::ConnectError) -> ConnectCause {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => ConnectCause::LoginRefused,
        ConnectErrorKind::Authentication => ConnectCause::LoginUnusable,
        ConnectErrorKind::TimedOut => ConnectCause::TimedOut,
        ConnectErrorKind::Dns => ConnectCause::UnresolvedName,
        // TLS 1.3 reports a missing client certificate after the handshake, as an I/O error.
        ConnectErrorKind::Tls | ConnectErrorKind::Io => match tls_error(error) {
            Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                ConnectCause::UntrustedAuthority
            }
            Some(TlsError::InvalidCertificate(CertificateError::Other(OtherError(other))))
                // Recognised by its text: a dependency on webpki would fix its version for all users of this crate.
                if other.to_string() == "CaUsedAsEndEntity" =>
            {
                ConnectCause::AuthorityAsServer
            }
            Some(TlsError::InvalidCertificate(_)) => ConnectCause::ServerCertificateRefused,
            Some(TlsError::AlertReceived(alert)) => by_alert(*alert),
            _ => ConnectCause::Other,
        },
        ConnectErrorKind::ServerParse | ConnectErrorKind::MaxReconnects => ConnectCause::Other,
    }
}

/// The cause by the server's answer to a TLS handshake.
fn by_alert(alert: AlertDescription) -> ConnectCause {
    match alert {
        AlertDescription::CertificateRequired => ConnectCause::ClientCertificateRequired,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => ConnectCause::ClientCertificateRefused,
        _ => ConnectCause::Other,
    }
}

/// Finds the TLS error that caused another. `io::Error::source` skips the error that it wraps.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
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
