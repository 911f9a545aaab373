//! A running gateway.

use std::time::Duration;

use super::Finding;
use crate::output::counted;
use crate::units::format_seconds;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum GatewayFinding {
    Reached {
        place: String,
        version: String,
    },
    Silent {
        place: String,
        after: Duration,
    },
    Unreachable {
        place: String,
        error: String,
    },
    /// The address has no status page of a gateway.
    Foreign {
        place: String,
    },
    Starting {
        place: String,
    },
    NotReady {
        reason: String,
    },
    CircuitClosed {
        seconds: u64,
        server_version: Option<String>,
    },
    /// The broker is connected, and no event was sent since the failure that opened the circuit.
    CircuitIdle {
        seconds: u64,
        server_version: String,
    },
    /// No attempt to connect has succeeded, and no event was sent since.
    NotConnected {
        error: String,
        has_spool: bool,
    },
    CircuitOpen {
        seconds: u64,
        error: Option<String>,
        has_spool: bool,
    },
    FailingSubjects {
        count: u64,
        first: String,
        error: Option<String>,
    },
    NoSpool,
    Spool {
        events: u64,
        oldest_seconds: Option<u64>,
    },
    SpoolFilling {
        percent: u64,
    },
    SpoolDamaged {
        records: u64,
    },
    DeadLetters {
        count: u64,
    },
    Refusals {
        count: u64,
        problem: String,
        detail: String,
        remedy: RefusalRemedy,
    },
}

/// The remedy of requests that a sender or an operator has to correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum RefusalRemedy {
    Sender,
    SenderOrLimit,
    Identity,
    Credential,
    Path,
    Method,
    Host,
    Capacity,
}

impl RefusalRemedy {
    fn text(self) -> &'static str {
        match self {
            Self::Sender => "correct the sender; docs/serve describes requests",
            Self::SenderOrLimit => "correct the sender, or raise the limit that the text names",
            Self::Identity => "give each event its own id, or each sender its own source",
            Self::Credential => "correct the sender's token, or its entry in --access",
            Self::Path => {
                "correct the sender's path; the paths are those of --subject (/) and --route"
            }
            Self::Method => "correct the sender: events are sent by POST",
            Self::Host => "send to localhost, or add the name with --allow-host",
            Self::Capacity => "raise --max-requests or --max-bytes, or add a gateway",
        }
    }
}

impl From<GatewayFinding> for Finding {
    fn from(finding: GatewayFinding) -> Self {
        use GatewayFinding as F;
        match finding {
            F::Reached { place, version } => Self::ok(
                "gateway.reached",
                format!("{place} is jetsink serve {version}"),
            ),
            F::Silent { place, after } => Self::problem(
                "gateway.silent",
                format!("{place} does not answer within {after:?}"),
                "check firewalls and routes, and whether the gateway's process hangs",
            ),
            F::Unreachable { place, error } => Self::problem(
                "gateway.unreachable",
                format!("{place} accepts no connection: {error}"),
                "start jetsink serve with --admin-listen, or correct the address",
            ),
            F::Foreign { place } => Self::problem(
                "gateway.foreign",
                format!("{place} has no status page of jetsink serve"),
                "use the address of --admin-listen, not the one for events; upgrade a gateway without a status page",
            ),
            F::Starting { place } => Self::warning(
                "gateway.starting",
                format!("the gateway at {place} is starting: its spool is not open yet"),
                "wait; if it lasts, check the gateway's log and the disk of its spool",
            ),
            F::NotReady { reason } => Self::problem(
                "gateway.not-ready",
                format!("the gateway is not ready: {reason}"),
                "deliver or enlarge the spool, or replace its disk; a gateway that is stopping ends soon",
            ),
            F::CircuitClosed {
                seconds,
                server_version,
            } => {
                let since = format_seconds(seconds);
                let server = match server_version {
                    Some(version) => format!("nats-server {version}"),
                    None => "no connection to the broker yet".to_owned(),
                };
                Self::ok(
                    "gateway.circuit",
                    format!("its circuit has been closed for {since}; {server}"),
                )
            }
            F::CircuitIdle {
                seconds,
                server_version,
            } => {
                let since = format_seconds(seconds);
                Self::ok(
                    "gateway.circuit",
                    format!(
                        "its circuit opened {since} ago; it is connected to nats-server {server_version}, \
                         and the next event is the probe"
                    ),
                )
            }
            F::NotConnected { error, has_spool } => away(
                &format!("it has no connection to its broker ({error})"),
                has_spool,
            ),
            F::CircuitOpen {
                seconds,
                error,
                has_spool,
            } => {
                let since = format_seconds(seconds);
                let text = format!("its broker has been away for {since}{}", because(error));
                away(&text, has_spool)
            }
            F::FailingSubjects {
                count,
                first,
                error,
            } => {
                let subjects = counted(count, "subject");
                Self::warning(
                    "gateway.subjects",
                    format!(
                        "events of {subjects} are not stored now, such as {first}{}",
                        because(error)
                    ),
                    format!("jetsink doctor --subject '{first}'"),
                )
            }
            F::NoSpool => Self::warning(
                "gateway.no-spool",
                "the gateway has no spool: senders get 503 while the broker is away",
                "jetsink serve --spool DIR",
            ),
            F::Spool {
                events,
                oldest_seconds,
            } => {
                let oldest = oldest_seconds.map_or_else(String::new, |oldest| {
                    format!(", the oldest for {}", format_seconds(oldest))
                });
                let pending = counted(events, "event");
                Self::ok("gateway.spool", format!("{pending} in its spool{oldest}"))
            }
            F::SpoolFilling { percent } => Self::warning(
                "gateway.spool-filling",
                format!("its spool is {percent} % full"),
                "repair the broker, or raise --spool-limit; senders get 503 once it is full",
            ),
            F::SpoolDamaged { records } => Self::problem(
                "gateway.spool-damaged",
                format!(
                    "damage to its disk has destroyed {} of its spool",
                    counted(records, "record")
                ),
                "replace the disk; the gateway's log has the damage",
            ),
            F::DeadLetters { count } => Self::warning(
                "gateway.dead-letters",
                format!(
                    "its spool has {}: refused for good, expired or too old",
                    counted(count, "dead letter")
                ),
                "jetsink spool dead DIR shows the reasons; remove them with --revive or --delete",
            ),
            F::Refusals {
                count,
                problem,
                detail,
                remedy,
            } => {
                let requests = counted(count, "request");
                Self::warning(
                    "gateway.refusals",
                    format!("{requests} refused in the last hour ({problem}); the last: {detail}"),
                    remedy.text(),
                )
            }
        }
    }
}

/// The finding for a gateway whose broker stores nothing, and why.
fn away(text: &str, has_spool: bool) -> Finding {
    let remedy = "jetsink doctor --subject SUBJECT, with the gateway's own login";
    match has_spool {
        true => Finding::warning(
            "gateway.circuit",
            format!("{text}; events are spooled"),
            remedy,
        ),
        false => Finding::problem(
            "gateway.circuit",
            format!("{text}; events are refused"),
            remedy,
        ),
    }
}

/// The reason of a failure in brackets, if it is known.
fn because(error: Option<String>) -> String {
    error.map_or_else(String::new, |error| format!(" ({error})"))
}
