//! The login, and the account's JetStream limits.

use async_nats::jetstream::ErrorCode;
use jetsink::{ConnectCause, NatsPublisher, PublishError, Refusal, WhenUnconfirmed};
use serde_json::Value;

use super::diagnosis::Diagnosis;
use super::finding::Finding;
use super::look_up::effect;

/// The finding for a failed connection. None if `named`: a finding about an address or a certificate
/// already explains it.
pub(super) fn login_failed(cause: ConnectCause, reason: &str, named: bool) -> Option<Finding> {
    let (code, remedy) = match cause {
        ConnectCause::UntrustedAuthority => (
            "tls.untrusted",
            "give the authority's certificate: --tlsca FILE, or NATS_CA",
        ),
        ConnectCause::ClientCertificateRequired => (
            "tls.client-certificate",
            "present a client certificate: --tlscert FILE --tlskey FILE",
        ),
        ConnectCause::LoginRefused | ConnectCause::LoginUnusable => (
            "login.refused",
            "check user and password, token, --creds or --nkey against the server's configuration",
        ),
        _ if named => return None,
        _ => ("connect.failed", "look at the server's log"),
    };
    Some(Finding::problem(code, reason, remedy))
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
    let without_jetstream = |problem: Finding| {
        if !imports {
            return problem;
        }
        Finding::warning(
            "account.imports",
            format!(
                "this account has no JetStream of its own; streams of another account receive its events, and can't \
                 be examined. A spool can't look up an event whose acknowledgement was lost, unless the account \
                 imports $JS.API.DIRECT.GET. {}",
                effect(choice)
            ),
            "import the JetStream API of the other account, if it may be used here",
        )
    };
    let problem = match publisher.admin().account_info().await {
        Ok(info) => {
            diagnosis.extend(&limits(&info));
            return Api::Answers;
        }
        Err(PublishError::PermissionDenied) => {
            diagnosis.add(&Finding::warning(
                "account.denied",
                "this user may not read the account's limits, and a late acknowledgement can't be \
                 distinguished from an unresponsive server",
                "grant publish on $JS.API.INFO",
            ));
            return Api::Answers;
        }
        Err(PublishError::InboxDenied { inbox }) => Finding::problem(
            "inbox.denied",
            format!("this user may not subscribe to {inbox}, so no acknowledgement can arrive"),
            "grant subscribe on _INBOX.>, or use --inbox-prefix with one that is granted",
        ),
        Err(PublishError::Refused(Refusal { code, .. }))
            if code == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT.0 =>
        {
            diagnosis.add(&without_jetstream(Finding::problem(
                "jetstream.account",
                "JetStream is not enabled for this account",
                "jetstream: enabled in the account's block, or nsc edit account --js-enable 1",
            )));
            return Api::Missing;
        }
        Err(PublishError::JetStreamUnavailable) => {
            diagnosis.add(&without_jetstream(Finding::problem(
                "jetstream.disabled",
                "the server has no JetStream, or the account may not use it",
                "jetstream { store_dir: DIR } in the server's configuration",
            )));
            return Api::Missing;
        }
        Err(error) => Finding::problem(
            "jetstream.silent",
            format!("the JetStream API: {error}"),
            "nats server report jetstream",
        ),
    };
    diagnosis.add(&problem);
    Api::Unusable
}

fn limits(info: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    for (limit, used, what) in [
        ("max_storage", "storage", "bytes of file storage"),
        ("max_memory", "memory", "bytes of memory storage"),
        ("max_streams", "streams", "streams"),
    ] {
        let limit = info["limits"][limit].as_i64().unwrap_or(-1);
        let used = info[used].as_i64().unwrap_or(0);
        // A limit of 0 means that the account may not use it.
        if limit > 0 && used as f64 >= 0.8 * limit as f64 {
            found.push(Finding::warning(
                "account.limit",
                format!("the account uses {used} of {limit} {what}"),
                "raise the account's limit, or delete what is not needed",
            ));
        }
    }
    if found.is_empty() {
        let text = "JetStream is enabled, and the account has room";
        found.push(Finding::ok("jetstream", text));
    }
    found
}

#[cfg(test)]
#[path = "tests/account.rs"]
mod tests;
