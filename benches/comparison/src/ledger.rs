//! The result of each emit, compared with the stream. Pure.

use std::time::Duration;

use delivery_audit::{Event, Outcome};
use tokio::time::Instant;

/// The result of one emit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    Ok,
    Err,
    /// No result before its time was up.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Emitted {
    pub(crate) number: u64,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) returned: Returned,
}

/// All emits of a load.
#[derive(Debug, Default)]
pub(crate) struct Ledger(pub(crate) Vec<Emitted>);

/// The counts of a comparison with the stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: usize,
    pub(crate) err: usize,
    pub(crate) nothing: usize,
    /// Returned `Ok`, and not stored.
    pub(crate) lost: usize,
    /// Stored more than once, with any result.
    pub(crate) duplicated: usize,
    /// Stored, and did not return `Ok`.
    pub(crate) stored_without_ok: usize,
}

impl Ledger {
    pub(crate) fn returned(&self, returned: Returned) -> impl Iterator<Item = &Emitted> {
        self.0
            .iter()
            .filter(move |emitted| emitted.returned == returned)
    }

    /// The emits that returned `Ok` and began and ended between two moments.
    pub(crate) fn ok_within(&self, from: Instant, to: Instant) -> Self {
        let within = |emitted: &&Emitted| emitted.started >= from && emitted.ended <= to;
        Self(
            self.returned(Returned::Ok)
                .filter(within)
                .copied()
                .collect(),
        )
    }

    pub(crate) fn longest(&self) -> Duration {
        let times = self.0.iter().map(|emitted| emitted.ended - emitted.started);
        times.max().unwrap_or_default()
    }

    /// In ascending order.
    pub(crate) fn times(&self) -> Vec<Duration> {
        let times = self.0.iter().map(|emitted| emitted.ended - emitted.started);
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        times
    }

    /// From a moment to the first `Ok` for an event that was emitted after it.
    pub(crate) fn first_ok_after(&self, moment: Instant) -> Option<Duration> {
        let after = self.returned(Returned::Ok).filter(|e| e.started >= moment);
        after.map(|emitted| emitted.ended - moment).min()
    }

    /// Compares the results with the numbers of the stored events.
    pub(crate) fn against(&self, stored: impl IntoIterator<Item = u64>) -> Tally {
        let mut ledger: delivery_audit::Ledger<u64> = delivery_audit::Ledger::new();
        for emitted in &self.0 {
            let outcome = match emitted.returned {
                Returned::Ok => Outcome::Acknowledged,
                // Not every contender's errors say whether the event is stored.
                Returned::Err | Returned::Nothing => Outcome::Unknown,
            };
            ledger.add(Event::new(emitted.number, outcome).ordered(false));
        }
        let mut audit = ledger.seal();
        for number in stored {
            audit.observe("", &number);
        }
        let report = audit.finish();
        let numbered = self.0.iter().zip(0..);
        let without_ok = numbered.filter(|(emitted, event)| {
            emitted.returned != Returned::Ok && report.is_stored(*event)
        });
        Tally {
            ok: self.returned(Returned::Ok).count(),
            err: self.returned(Returned::Err).count(),
            nothing: self.returned(Returned::Nothing).count(),
            lost: report.lost().count(),
            duplicated: report.duplicated().count(),
            stored_without_ok: without_ok.count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(returned: &[(u64, Returned)]) -> Ledger {
        let now = Instant::now();
        let emitted = |&(number, returned)| Emitted {
            number,
            started: now,
            ended: now,
            returned,
        };
        Ledger(returned.iter().map(emitted).collect())
    }

    #[test]
    fn an_event_that_returned_ok_and_is_not_stored_is_lost_even_if_others_are_stored_twice() {
        let ledger = ledger(&[(1, Returned::Ok), (2, Returned::Ok), (3, Returned::Err)]);
        let tally = ledger.against([2, 2, 3]);
        let expected = Tally {
            ok: 2,
            err: 1,
            nothing: 0,
            lost: 1,
            duplicated: 1,
            stored_without_ok: 1,
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn an_emit_without_a_result_is_neither_ok_nor_lost() {
        let tally = ledger(&[(1, Returned::Nothing)]).against([]);
        assert_eq!((tally.nothing, tally.ok, tally.lost), (1, 0, 0));
    }

    #[test]
    fn the_first_ok_after_a_moment_is_of_an_event_that_was_emitted_after_it() {
        let back = Instant::now();
        let ms = Duration::from_millis;
        let emitted = |number, started, took, returned| Emitted {
            number,
            started,
            ended: started + took,
            returned,
        };
        let ledger = Ledger(vec![
            emitted(1, back - ms(5), ms(6), Returned::Ok),
            emitted(2, back + ms(1), ms(1), Returned::Err),
            emitted(3, back + ms(2), ms(7), Returned::Ok),
        ]);
        assert_eq!(ledger.first_ok_after(back), Some(ms(9)));
        assert_eq!(ledger.longest(), ms(7));
    }
}
