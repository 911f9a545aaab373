//! Baselines that no unanswered event of replay is below. Pure.
//!
//! Results are read in the order of sending, but a retried event is stored after later ones: the sequence
//! number of a result says nothing about the events behind it. An event that is sent after an acknowledgement
//! arrived is stored above it. So a snapshot of the acknowledged numbers is safe once each event that was sent
//! before it has its result.

use crate::spool::Baselines;

#[derive(Debug, Default)]
pub(super) struct SafeBaselines {
    sent: u64,
    answered: u64,
    safe: Baselines,
    /// The next ones, with the number of events that were sent before them.
    next: Option<(Baselines, u64)>,
}

impl SafeBaselines {
    /// An event is about to be sent.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// The oldest event has its result.
    pub(super) fn answered(&mut self) {
        self.answered += 1;
    }

    /// Returns the safe baselines; `acknowledged` returns the highest numbers of now.
    pub(super) fn advance(&mut self, acknowledged: impl FnOnce() -> Baselines) -> &Baselines {
        if let Some((next, _)) = self.next.take_if(|(_, sent)| *sent <= self.answered) {
            self.safe = next;
        }
        if self.next.is_none() {
            let acknowledged = acknowledged();
            if self.sent == self.answered {
                self.safe = acknowledged;
            } else {
                self.next = Some((acknowledged, self.sent));
            }
        }
        &self.safe
    }

    /// These streams are others than those of the acknowledgements, or were set back.
    pub(super) fn forget(&mut self, streams: &[String]) {
        let next = self.next.iter_mut().map(|(next, _)| next);
        for baselines in next.chain([&mut self.safe]) {
            baselines.retain(|stream, _| !streams.contains(stream));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Baseline;

    fn at(sequence: u64) -> Baselines {
        Baselines::from([("S".to_owned(), Baseline::new(sequence))])
    }

    #[test]
    fn baseline_never_passes_an_unanswered_event() {
        let mut baselines = SafeBaselines::default();
        assert_eq!(*baselines.advance(|| at(3)), at(3), "nothing is in flight");
        for _ in 0..3 {
            baselines.sent();
        }
        // The first one was retried, and is stored at 20; the second one, stored at 15, is unanswered.
        baselines.answered();
        assert_eq!(*baselines.advance(|| at(20)), at(3));
        baselines.sent();
        baselines.answered();
        assert_eq!(*baselines.advance(|| at(25)), at(3));
        baselines.answered();
        assert_eq!(*baselines.advance(|| at(30)), at(20));
        baselines.answered();
        assert_eq!(*baselines.advance(|| at(40)), at(40));
        baselines.forget(&["S".to_owned()]);
        assert!(baselines.safe.is_empty());
    }
}
