//! The publishes that were given up without an answer. Pure.
//!
//! The server may still receive such a message, and end the connection because of it. Without this record the
//! largest event that still waits for an answer would be blamed.

use super::wire::Limit;

/// The maximum number of entries.
const MAX_ENTRIES: usize = 64;

/// The lengths of a message that a server limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    /// Payload and headers.
    pub(super) bytes: usize,
    pub(super) subject: usize,
}

impl Lengths {
    pub(super) fn of(self, limit: Limit) -> usize {
        match limit {
            Limit::Payload => self.bytes,
            Limit::ControlLine => self.subject,
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.max(other.bytes),
            subject: self.subject.max(other.subject),
        }
    }
}

/// The tokens and lengths of the publishes over one connection that were given up.
#[derive(Debug, Default)]
pub(super) struct GivenUp(Vec<(u64, Lengths)>);

impl GivenUp {
    /// Adds a publish, unless the server has answered a later one: it processes a connection in order.
    pub(super) fn add(&mut self, token: u64, lengths: Lengths, highest_answered: u64) {
        if token < highest_answered {
            return;
        }
        self.0.retain(|(earlier, of)| {
            let is_covered = *earlier < token && of.max(lengths) == lengths;
            *earlier > highest_answered && !is_covered
        });
        if self.0.len() >= MAX_ENTRIES {
            let all = self.0.drain(..);
            let merged = all.fold((token, lengths), |(last, most), (token, of)| {
                (last.max(token), most.max(of))
            });
            self.0.push(merged);
        } else {
            self.0.push((token, lengths));
        }
    }

    /// Returns the greatest length of a publish that the server may not have accepted.
    pub(super) fn longest(&self, limit: Limit, highest_answered: u64) -> Option<usize> {
        let unanswered = self.0.iter().filter(|(token, _)| *token > highest_answered);
        unanswered.map(|(_, lengths)| lengths.of(limit)).max()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: usize, subject: usize) -> Lengths {
        Lengths { bytes, subject }
    }

    #[test]
    fn publish_counts_until_a_later_one_is_answered() {
        let mut given_up = GivenUp::default();
        given_up.add(5, of(900, 1), 4);
        given_up.add(6, of(100, 9), 4);
        assert_eq!(given_up.longest(Limit::Payload, 4), Some(900));
        assert_eq!(given_up.longest(Limit::ControlLine, 4), Some(9));
        assert_eq!(given_up.longest(Limit::Payload, 5), Some(100));
        assert_eq!(given_up.longest(Limit::Payload, 6), None);
        given_up.add(7, of(900, 1), 8);
        assert_eq!(given_up.longest(Limit::Payload, 8), None);
    }

    #[test]
    fn entries_are_bounded_and_none_is_forgotten() {
        let mut given_up = GivenUp::default();
        for token in 1..=1_000 {
            // None covers another one.
            given_up.add(token, of(2_000 - token as usize, token as usize), 0);
            assert!(given_up.0.len() <= MAX_ENTRIES);
        }
        assert_eq!(given_up.longest(Limit::Payload, 0), Some(1_999));
        assert_eq!(given_up.longest(Limit::ControlLine, 0), Some(1_000));
        given_up.clear();
        for token in 1..=1_000 {
            given_up.add(token, of(token as usize, 1), 0);
        }
        assert_eq!(given_up.0, [(1_000, of(1_000, 1))]);
    }
}
