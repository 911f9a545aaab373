//! What message ids `<sink>.<n>` tell by themselves. Pure.

use std::collections::{BTreeMap, HashMap};

/// One sink's numbers.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) messages: u64,
    pub(crate) duplicated: Vec<u64>,
    pub(crate) out_of_order: Vec<u64>,
    /// The first to the last of each run of numbers that were seen.
    runs: BTreeMap<u64, u64>,
    /// The highest so far, by subject.
    highest: HashMap<String, u64>,
}

impl Sink {
    fn saw(&mut self, number: u64, subject: &str) {
        self.messages += 1;
        let before = self.runs.range(..=number).next_back();
        let before = before.map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            self.duplicated.push(number);
            return;
        }
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let after = number.checked_add(1);
        let last = after.and_then(|after| self.runs.remove(&after));
        self.runs.insert(first, last.unwrap_or(number));
        match self.highest.get_mut(subject) {
            Some(highest) if number < *highest => self.out_of_order.push(number),
            Some(highest) => *highest = number,
            None => {
                self.highest.insert(subject.to_owned(), number);
            }
        }
    }

    /// The first and the last that was seen.
    pub(crate) fn ends(&self) -> Option<(u64, u64)> {
        let (&first, _) = self.runs.first_key_value()?;
        let (_, &last) = self.runs.last_key_value()?;
        Some((first, last))
    }

    /// The first to the last of each run of numbers that are missing, from 1 on where the stream's
    /// beginning is still there.
    pub(crate) fn missing(&self, from_the_first: bool) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = if from_the_first {
            1
        } else {
            self.ends().map_or(1, |(first, _)| first)
        };
        for (&first, &last) in &self.runs {
            if next < first {
                missing.push((next, first - 1));
            }
            next = last.saturating_add(1);
        }
        missing
    }
}

#[derive(Debug, Default)]
pub(crate) struct Minted {
    pub(crate) sinks: BTreeMap<String, Sink>,
    /// Messages whose id is of another form, or that have none.
    pub(crate) others: u64,
}

impl Minted {
    pub(crate) fn saw(&mut self, message_id: Option<&str>, subject: &str) {
        match message_id.and_then(parse) {
            Some((sink, number)) => {
                if !self.sinks.contains_key(sink) {
                    self.sinks.insert(sink.to_owned(), Sink::default());
                }
                if let Some(sink) = self.sinks.get_mut(sink) {
                    sink.saw(number, subject);
                }
            }
            None => self.others += 1,
        }
    }
}

/// A number as it is minted: from 1, without signs or leading zeros.
fn parse(message_id: &str) -> Option<(&str, u64)> {
    let (sink, number) = message_id.rsplit_once('.')?;
    let minted = !sink.is_empty() && number.starts_with(|c: char| ('1'..='9').contains(&c));
    Some((sink, number.parse().ok().filter(|_| minted)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(numbers: &[u64]) -> Sink {
        let mut minted = Minted::default();
        for number in numbers {
            minted.saw(Some(&format!("s.{number}")), "subject");
        }
        minted.sinks.remove("s").unwrap()
    }

    #[test]
    fn a_gap_a_twin_and_a_straggler_are_each_found() {
        let whole = sink(&[1, 2, 3]);
        assert_eq!((whole.messages, whole.ends()), (3, Some((1, 3))));
        assert!(whole.missing(true).is_empty());
        assert_eq!(sink(&[2, 3, 7, 9]).missing(true), [(1, 1), (4, 6), (8, 8)]);
        assert_eq!(sink(&[2, 3, 7]).missing(false), [(4, 6)]);
        assert_eq!(sink(&[1, 2, 1, 2]).duplicated, [1, 2]);
        let straggler = sink(&[1, 3, 2, 4]);
        assert_eq!(straggler.out_of_order, [2]);
        assert!(straggler.missing(true).is_empty() && straggler.duplicated.is_empty());
        assert_eq!(sink(&[u64::MAX, 1]).missing(true), [(2, u64::MAX - 1)]);
    }

    #[test]
    fn order_is_told_by_subject_and_other_ids_are_counted() {
        let mut minted = Minted::default();
        for (id, subject) in [
            ("s.2", "a"),
            ("s.1", "b"),
            ("s.x", "a"),
            ("s.01", "a"),
            (".1", "a"),
        ] {
            minted.saw(Some(id), subject);
        }
        minted.saw(None, "a");
        assert!(minted.sinks["s"].out_of_order.is_empty());
        assert_eq!((minted.sinks.len(), minted.others), (1, 4));
    }
}
