//! The streams that capture a subject, and the permission to publish to it.

use super::Finding;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum SubjectFinding {
    Captured {
        pattern: String,
        stream: String,
    },
    NoStream {
        pattern: String,
    },
    /// No stream captures all subjects of the template.
    Partly {
        pattern: String,
        streams: Vec<String>,
    },
    Several {
        pattern: String,
        streams: Vec<String>,
    },
    /// A stream receives the events although none of the account captures the subject.
    Elsewhere {
        pattern: String,
    },
    /// Nothing receives a subject of the template, and the streams of the others are not known.
    Unreceived {
        pattern: String,
        sample: String,
    },
    StreamsDenied,
    StreamsUnknown {
        pattern: String,
        error: String,
    },
    PublishAllowed {
        sample: String,
    },
    PublishDenied {
        sample: String,
        pattern: String,
    },
    PublishFails {
        sample: String,
        error: String,
    },
}

impl From<SubjectFinding> for Finding {
    fn from(finding: SubjectFinding) -> Self {
        use SubjectFinding as F;
        match finding {
            F::Captured { pattern, stream } => Self::ok(
                "subject.captured",
                format!("stream {stream} captures {pattern}"),
            ),
            F::NoStream { pattern } => Self::problem(
                "subject.no-stream",
                format!("no stream captures {pattern}: every emit would fail"),
                format!("jetsink stream apply --name EVENTS --subject '{pattern}'"),
            ),
            F::Partly { pattern, streams } => match streams.as_slice() {
                [stream] => Self::problem(
                    "subject.partly",
                    format!(
                        "stream {stream} captures only a part of {pattern}: other events would fail"
                    ),
                    format!("jetsink stream apply --name {stream} --subject '{pattern}'"),
                ),
                streams => Self::problem(
                    "subject.partly",
                    format!(
                        "streams {} capture only parts of {pattern}: other events would fail",
                        streams.join(", ")
                    ),
                    format!(
                        "let one stream capture {pattern}, and remove these subjects from the others: \
                         jetsink stream apply, nats stream edit"
                    ),
                ),
            },
            F::Several { pattern, streams } => Self::warning(
                "subject.several",
                format!(
                    "events of {pattern} go to {} streams, {}: each has its own order and limits",
                    streams.len(),
                    streams.join(", "),
                ),
                "use one stream for all of them, unless this is intended",
            ),
            F::Elsewhere { pattern } => Self::warning(
                "subject.elsewhere",
                format!(
                    "a stream receives events of {pattern} by a mapping, an import or a leaf node: it stores them \
                     under another subject or in another account, and is not examined here"
                ),
                "examine the stream in its own account: jetsink doctor with its login and subject",
            ),
            F::Unreceived { pattern, sample } => Self::problem(
                "subject.no-stream",
                format!("no stream receives {sample}: an event for it would fail"),
                format!(
                    "jetsink stream apply --name EVENTS --subject '{pattern}', with a login that may create streams; \
                     if a stream captures it, start the stream's servers"
                ),
            ),
            F::StreamsDenied => Self::warning(
                "stream.names-denied",
                "this user may not ask which stream captures a subject: errors are less precise, and the stream is \
                 not examined",
                "allow this user to publish to $JS.API.STREAM.NAMES",
            ),
            F::StreamsUnknown { pattern, error } => Self::problem(
                "stream.names",
                format!("the streams that capture {pattern} can't be listed: {error}"),
                "nats stream ls",
            ),
            F::PublishAllowed { sample } => Self::ok(
                "publish.allowed",
                format!("this user may publish to {sample} (checked; nothing was stored)"),
            ),
            F::PublishDenied { sample, pattern } => Self::problem(
                "publish.denied",
                format!("this user may not publish to {sample}"),
                format!("allow this user to publish to {pattern}"),
            ),
            F::PublishFails { sample, error } => Self::problem(
                "publish.failed",
                format!("an event for {sample} would fail: {error}"),
                "publish one event with jetsink publish -v, which shows the cause",
            ),
        }
    }
}
