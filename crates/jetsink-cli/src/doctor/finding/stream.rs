//! A stream's configuration and state.

use std::time::Duration;

use super::Finding;
use crate::output::counted;

/// A finding about one stream, whose name [`StreamFinding::about`] adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum StreamFinding {
    Fits,
    NoAck,
    Sealed,
    Counter,
    SubjectTransform,
    /// The server's names of the limit and of the `nats` command's flag for it.
    ConsumerLimit {
        limit: &'static str,
        value: i64,
        flag: &'static str,
    },
    PersistAsync,
    PerSubjectLimit {
        kept: i64,
    },
    DiscardsOld {
        limit: StreamLimit,
        percent: u64,
    },
    Full(StreamLimit),
    Filling(StreamLimit),
    RetentionPolicy {
        policy: String,
    },
    Retention {
        age: Duration,
        floor: Duration,
    },
    Memory,
    OneReplica,
    DuplicateWindow {
        window: Duration,
        retry_span: Duration,
    },
    MessageSize {
        limit: u64,
        max_payload: u64,
    },
    NoLeader,
    ReplicaBehind {
        server: String,
    },
    InfoDenied,
    InfoFails {
        error: String,
    },
}

/// A limit of a stream's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) struct StreamLimit {
    pub(in crate::doctor) used: u64,
    pub(in crate::doctor) limit: i64,
    pub(in crate::doctor) unit: &'static str,
    /// The flag of `nats stream edit`.
    pub(in crate::doctor) flag: &'static str,
}

impl StreamLimit {
    fn raise(self, stream: &str) -> String {
        format!("nats stream edit {stream} {} MORE", self.flag)
    }
}

impl StreamFinding {
    pub(in crate::doctor) fn about(self, stream: &str) -> Finding {
        match self {
            Self::Fits => Finding::ok(
                "stream.fit",
                format!("stream {stream} accepts and keeps events as expected"),
            ),
            Self::NoAck => Finding::problem(
                "stream.no-ack",
                format!("stream {stream} does not acknowledge: every emit would time out"),
                format!("nats stream edit {stream} --ack"),
            ),
            Self::Sealed => Finding::problem(
                "stream.sealed",
                format!("stream {stream} is sealed and accepts no more events"),
                "create a stream of another name for new events",
            ),
            Self::Counter => Finding::problem(
                "stream.counter",
                format!(
                    "stream {stream} is a counter: it accepts only messages with Nats-Incr and no payload"
                ),
                "create a stream of another name for events",
            ),
            Self::SubjectTransform => Finding::warning(
                "stream.subject-transform",
                format!(
                    "stream {stream} stores events under other subjects (subject_transform): readers of the \
                     published subject find nothing"
                ),
                format!("nats stream edit {stream}, or publish to the subject that it stores"),
            ),
            Self::ConsumerLimit { limit, value, flag } => Finding::warning(
                "stream.consumer-limits",
                format!(
                    "stream {stream} limits {limit} of consumers to {value}: readers that ask for more are refused"
                ),
                format!("nats stream edit {stream} {flag}=-1"),
            ),
            Self::PersistAsync => Finding::warning(
                "stream.persist-async",
                format!(
                    "stream {stream} acknowledges events before it writes them (persist_mode: async): they are lost \
                     with the server's process"
                ),
                "create a stream of another name with the default persist mode",
            ),
            Self::PerSubjectLimit { kept } => Finding::problem(
                "stream.limit-per-subject",
                format!(
                    "stream {stream} keeps at most {} per subject",
                    counted(kept.unsigned_abs(), "event")
                ),
                format!("nats stream edit {stream} --max-msgs-per-subject=-1"),
            ),
            Self::DiscardsOld { limit, percent } => Finding::problem(
                "stream.discards-old",
                format!(
                    "stream {stream} discards its oldest events at {} {}, whatever their age ({percent} % used)",
                    limit.limit, limit.unit
                ),
                format!(
                    "nats stream edit {stream} --discard new, or {}",
                    limit.raise(stream)
                ),
            ),
            Self::Full(limit) => Finding::problem(
                "stream.full",
                format!(
                    "stream {stream} is full: {} of {} {}; it refuses events",
                    limit.used, limit.limit, limit.unit
                ),
                limit.raise(stream),
            ),
            Self::Filling(limit) => Finding::warning(
                "stream.filling",
                format!(
                    "stream {stream} is nearly full: {} of {} {}; once full, it refuses events",
                    limit.used, limit.limit, limit.unit
                ),
                limit.raise(stream),
            ),
            Self::RetentionPolicy { policy } => Finding::problem(
                "stream.retention-policy",
                format!("stream {stream} deletes events once they are consumed ({policy})"),
                "create a stream of another name with --retention limits",
            ),
            Self::Retention { age, floor } => {
                let floor = in_days(floor);
                Finding::problem(
                    "stream.retention",
                    format!(
                        "stream {stream} keeps events for {}, less than {floor}",
                        in_days(age)
                    ),
                    format!("nats stream edit {stream} --max-age {floor}"),
                )
            }
            Self::Memory => Finding::warning(
                "stream.memory",
                format!(
                    "stream {stream} is in memory: acknowledged events are lost with the server's process"
                ),
                "create a stream of another name with --storage file",
            ),
            Self::OneReplica => Finding::warning(
                "stream.one-replica",
                format!(
                    "stream {stream} has one copy: an acknowledgement is no fsync, so a power cut may lose the events \
                     since the last sync (every 2 minutes by default)"
                ),
                format!(
                    "in a cluster: nats stream edit {stream} --replicas 3; else sync_interval: always in the \
                     server's jetstream block"
                ),
            ),
            Self::DuplicateWindow { window, retry_span } => Finding::warning(
                "stream.duplicate-window",
                format!(
                    "stream {stream} remembers message ids for {window:?}, and an event may be retried for \
                     {retry_span:?}: it could be stored twice"
                ),
                format!("nats stream edit {stream} --dupe-window 2m"),
            ),
            Self::MessageSize { limit, max_payload } => Finding::warning(
                "stream.message-size",
                format!(
                    "stream {stream} refuses events of more than {limit} bytes, though the server accepts \
                     {max_payload}"
                ),
                format!("nats stream edit {stream} --max-msg-size=-1"),
            ),
            Self::NoLeader => Finding::problem(
                "stream.no-leader",
                format!("stream {stream} has no leader: a majority of its servers is down"),
                "start the servers that are down",
            ),
            Self::ReplicaBehind { server } => Finding::warning(
                "stream.replica-behind",
                format!("stream {stream}: the replica on {server} is offline or behind"),
                format!("nats server report jetstream; check the log of {server}"),
            ),
            Self::InfoDenied => Finding::warning(
                "stream.info-denied",
                format!(
                    "this user may not read the state of stream {stream}, so it is not examined"
                ),
                format!("allow this user to publish to $JS.API.STREAM.INFO.{stream}"),
            ),
            Self::InfoFails { error } => Finding::problem(
                "stream.silent",
                format!("stream {stream} exists and does not report its state: {error}"),
                format!("nats stream info {stream}; nats server report jetstream"),
            ),
        }
    }
}

fn in_days(duration: Duration) -> String {
    let hours = duration.as_secs() / 3_600;
    if hours > 0 && hours.is_multiple_of(24) {
        format!("{}d", hours / 24)
    } else {
        format!("{duration:?}")
    }
}
