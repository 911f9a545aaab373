//! JetStream in the account, and the account's limits.

use super::Finding;
use super::look_up::effect;
use crate::spool::arguments::WhenUnconfirmed;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum AccountFinding {
    HasRoom,
    /// At least 80 % of a limit are used.
    NearLimit {
        used: i64,
        limit: i64,
        unit: &'static str,
    },
    /// Messages of the size that the server announces are refused.
    SmallerPayload {
        accepted: u64,
        refused: u64,
        announced: u64,
    },
    LimitsDenied,
    /// The account has no JetStream of its own; streams of another account receive its events.
    Imports {
        choice: WhenUnconfirmed,
    },
    InboxDenied {
        inbox: String,
    },
    NotEnabled,
    NoJetStream,
    ApiFails {
        error: String,
    },
}

impl From<AccountFinding> for Finding {
    fn from(finding: AccountFinding) -> Self {
        use AccountFinding as F;
        match finding {
            F::HasRoom => Self::ok(
                "jetstream",
                "JetStream is enabled, and the account has room",
            ),
            F::NearLimit { used, limit, unit } => Self::warning(
                "account.limit",
                format!("the account uses {used} of {limit} {unit}"),
                "raise the account's limit, or delete streams that are not needed",
            ),
            F::SmallerPayload {
                accepted,
                refused,
                announced,
            } => Self::warning(
                "account.payload",
                format!(
                    "the account or user accepts {accepted} bytes and refuses {refused}, headers included, though \
                     the server announces {announced}: each larger event fails and ends the connection"
                ),
                "raise max_payload of the account or user, or keep events smaller",
            ),
            F::LimitsDenied => Self::warning(
                "account.denied",
                "this user may not read the account's limits, and a late acknowledgement can't be distinguished \
                 from an unresponsive server",
                "allow this user to publish to $JS.API.INFO",
            ),
            F::Imports { choice } => Self::warning(
                "account.imports",
                format!(
                    "this account has no JetStream of its own; streams of another account receive its events, and \
                     can't be examined. A spool can't look up an event whose acknowledgement was lost, unless the \
                     account imports $JS.API.DIRECT.GET. {}",
                    effect(choice)
                ),
                "import the JetStream API of the other account, if it may be used here",
            ),
            F::InboxDenied { inbox } => Self::problem(
                "inbox.denied",
                format!("this user may not subscribe to {inbox}, so no acknowledgement can arrive"),
                "allow this user to subscribe to _INBOX.>, or name an allowed prefix with --inbox-prefix",
            ),
            F::NotEnabled => Self::problem(
                "jetstream.account",
                "JetStream is not enabled for this account",
                "set jetstream: enabled in the account's block, or run nsc edit account --js-enable 1",
            ),
            F::NoJetStream => Self::problem(
                "jetstream.disabled",
                "the server has no JetStream, or the account may not use it",
                "set jetstream { store_dir: DIR } in the server's configuration",
            ),
            F::ApiFails { error } => Self::problem(
                "jetstream.silent",
                format!("the JetStream API fails: {error}"),
                "nats server report jetstream",
            ),
        }
    }
}
