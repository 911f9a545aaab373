//! The look-up of events whose acknowledgement was lost.

use super::Finding;
use crate::output::counted;
use crate::spool::arguments::WhenUnconfirmed;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum LookUpFinding {
    Possible {
        stream: String,
        choice: WhenUnconfirmed,
    },
    /// The stream can't be read.
    Impossible {
        stream: String,
        error: String,
        choice: WhenUnconfirmed,
    },
    /// The stream removes events early.
    Incomplete {
        stream: String,
        removal: Removal,
        choice: WhenUnconfirmed,
    },
}

/// The rule by which a stream removes events before they are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::doctor) enum Removal {
    Consumed,
    /// The maximum number of events per subject.
    PerSubject(i64),
    Oldest,
}

impl From<LookUpFinding> for Finding {
    fn from(finding: LookUpFinding) -> Self {
        use LookUpFinding as F;
        match finding {
            F::Possible { stream, choice } => Self::ok(
                "look-up",
                format!(
                    "a spool can look up events of stream {stream} whose acknowledgement was lost. when-unconfirmed \
                     ({}) decides only if messages are removed or too old by then, or the stream is silent for 10 \
                     minutes",
                    name(choice)
                ),
            ),
            F::Impossible {
                stream,
                error,
                choice,
            } => Self::warning(
                "look-up.impossible",
                format!(
                    "stream {stream} can't be read ({error}), so a spool can't look up events whose acknowledgement \
                     was lost. {}",
                    effect(choice)
                ),
                format!(
                    "allow this user to publish to $JS.API.STREAM.INFO.{stream}, $JS.API.CONSUMER.CREATE.{stream} \
                     and $JS.FC.>"
                ),
            ),
            F::Incomplete {
                stream,
                removal,
                choice,
            } => {
                let removal = match removal {
                    Removal::Consumed => "removes consumed events".to_owned(),
                    Removal::PerSubject(kept) => {
                        format!(
                            "keeps {} per subject",
                            counted(kept.unsigned_abs(), "event")
                        )
                    }
                    Removal::Oldest => "removes its oldest events when it is full".to_owned(),
                };
                Self::warning(
                    "look-up.incomplete",
                    format!(
                        "stream {stream} {removal}, so a spool may not find an event whose acknowledgement was lost. \
                         {}",
                        effect(choice)
                    ),
                    format!(
                        "remove that limit of stream {stream}, or choose --when-unconfirmed for the spool"
                    ),
                )
            }
        }
    }
}

fn name(choice: WhenUnconfirmed) -> &'static str {
    match choice {
        WhenUnconfirmed::Deliver => "deliver",
        WhenUnconfirmed::Hold => "hold",
    }
}

/// The effect of the setting on such an event.
pub(super) fn effect(choice: WhenUnconfirmed) -> &'static str {
    match choice {
        WhenUnconfirmed::Deliver => {
            "Such an event is sent again, and may be stored twice (when-unconfirmed deliver)"
        }
        WhenUnconfirmed::Hold => {
            "Such an event stays in the spool, and its subject is held (when-unconfirmed hold)"
        }
    }
}
