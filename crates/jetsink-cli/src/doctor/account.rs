//! The login, and the account's JetStream limits.

use async_nats::jetstream::ErrorCode;
use jetsink::{ConnectCause, NatsPublisher, Refusal, RequestError};
use serde_json::Value;

use super::diagnosis::Diagnosis;
use super::finding::{AccountFinding, ConnectionFinding};
use crate::spool::arguments::WhenUnconfirmed;

/// The finding for a failed connection. None if `named`: a finding about an address or a certificate
/// already explains it.
pub(super) fn login_failed(
    cause: ConnectCause,
    reason: String,
    named: bool,
) -> Option<ConnectionFinding> {
    match cause {
        ConnectCause::UntrustedAuthority => Some(ConnectionFinding::UntrustedAuthority { reason }),
        ConnectCause::ClientCertificateRequired => {
            Some(ConnectionFinding::ClientCertificateRequired { reason })
        }
        ConnectCause::LoginRefused | ConnectCause::LoginUnusable => {
            Some(ConnectionFinding::LoginRefused { reason })
        }
        _ if named => None,
        _ => Some(ConnectionFinding::NoConnection { reason }),
    }
}

/// The state of the account's JetStream API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Answers,
    /// The account has no JetStream of its own. Streams of other accounts may receive its events.
    Missing,
    /// No event can be acknowledged.
    Unusable,
}

/// Checks JetStream and the account's limits. `imports` if events reach a stream: then the account needs no
/// JetStream of its own.
pub(super) async fn account(
    publisher: &NatsPublisher,
    imports: bool,
    choice: WhenUnconfirmed,
    diagnosis: &mut Diagnosis,
) -> Api {
    let without_jetstream = |problem| match imports {
        true => AccountFinding::Imports { choice },
        false => problem,
    };
    let (finding, api) = match publisher.admin().account_info().await {
        Ok(info) => {
            diagnosis.extend(limits(&info));
            return Api::Answers;
        }
        Err(RequestError::Denied) => (AccountFinding::LimitsDenied, Api::Answers),
        Err(RequestError::InboxDenied { inbox }) => {
            (AccountFinding::InboxDenied { inbox }, Api::Unusable)
        }
        Err(RequestError::Refused(Refusal { code, .. }))
            if code == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT.0 =>
        {
            (without_jetstream(AccountFinding::NotEnabled), Api::Missing)
        }
        Err(RequestError::JetStreamUnavailable) => {
            (without_jetstream(AccountFinding::NoJetStream), Api::Missing)
        }
        Err(error) => {
            let error = error.to_string();
            (AccountFinding::ApiFails { error }, Api::Unusable)
        }
    };
    diagnosis.add(finding);
    api
}

fn limits(info: &Value) -> Vec<AccountFinding> {
    let mut found = Vec::new();
    for (limit, used, unit) in [
        ("max_storage", "storage", "bytes of file storage"),
        ("max_memory", "memory", "bytes of memory storage"),
        ("max_streams", "streams", "streams"),
    ] {
        let limit = info["limits"][limit].as_i64().unwrap_or(-1);
        let used = info[used].as_i64().unwrap_or(0);
        // A limit of 0 means that the account may not use it.
        if limit > 0 && used as f64 >= 0.8 * limit as f64 {
            found.push(AccountFinding::NearLimit { used, limit, unit });
        }
    }
    if found.is_empty() {
        found.push(AccountFinding::HasRoom);
    }
    found
}

#[cfg(test)]
#[path = "tests/account.rs"]
mod tests;
