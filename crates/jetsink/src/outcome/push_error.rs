//! The error of a push into a pipeline.

use crate::message::envelope::Envelope;

/// The error of [`Pipeline::push`](crate::Pipeline::push). It contains the envelope, which was not sent. `Display` is
/// one line with its subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The window is full. There is room once [`Pipeline::next`](crate::Pipeline::next) has returned a result.
    #[error("not sent: the pipeline is full; take a result first [subject {}]", .0.subject())]
    Full(Envelope),
    /// The pipeline was stopped, or its sink closed: it accepts no more envelopes.
    #[error(
        "not sent: the pipeline has ended, because it was stopped or its sink was closed [subject {}]",
        .0.subject()
    )]
    Ended(Envelope),
}

impl PushError {
    /// Returns the envelope.
    #[must_use]
    pub fn into_envelope(self) -> Envelope {
        match self {
            Self::Full(envelope) | Self::Ended(envelope) => envelope,
        }
    }
}
