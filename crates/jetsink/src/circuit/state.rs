//! Public values of the circuit: its state, and the results of its calls.

use std::time::Duration;

use tokio::time::Instant;

use super::word::Packed;

/// The state of a circuit at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The last publish that counted succeeded: publish directly.
    Connected,
    /// The last publish that counted failed: wait, then probe.
    #[non_exhaustive]
    Reconnecting {
        /// Failed probes since the circuit opened; 0 after the failure that opened it. Stays at its
        /// maximum once it gets there.
        attempt: u32,
        /// The time when the next probe is due. During a probe, the time of the call.
        next_after: Instant,
        /// Whether a probe is in flight.
        probing: bool,
    },
}

/// The rejection of a caller by an open circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// As in [`State::Reconnecting`].
    pub(crate) attempt: u32,
    /// The time until the next probe is due; zero during a probe.
    pub(crate) retry_after: Duration,
    /// Whether a probe is in flight.
    pub(crate) probing: bool,
}

/// The right to publish once. Pass it to [`Circuit::settle`](super::Circuit::settle) or
/// [`Circuit::release`](super::Circuit::release).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an admission that is neither settled nor released may block the next probe"]
pub(crate) struct Admission {
    pub(super) word: Packed,
}

impl Admission {
    /// Whether this admission is the probe of an open circuit: one attempt only.
    #[must_use]
    pub(crate) fn is_probe(&self) -> bool {
        self.word.is_probing()
    }
}

/// The result of an admitted publish, as far as this circuit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The publish succeeded.
    Success,
    /// The publish failed in a way that this circuit guards against.
    Failure,
}

/// A change of state that a call caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Connected → reconnecting.
    Opened,
    /// The probe failed; the next one is due after `wait`.
    ProbeFailed {
        /// The attempt from now on.
        attempt: u32,
        /// The wait until the next probe.
        wait: Duration,
    },
    /// The probe succeeded: reconnecting → connected.
    Closed,
    /// Evidence that the broker is back arrived: a probe is due at once.
    ProbeDue,
}
