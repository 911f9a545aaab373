//! Gaps, duplicates and late messages by the message ids `<sink>.<n>` alone. Pure.
//!
//! Memory: one run of numbers per gap and the highest number per subject of a sink; nothing per
//! message.

use std::collections::{BTreeMap, HashMap};

use super::found::Found;

/// The numbers of one sink.
#[derive(Debug)]
pub(super) struct SinkNumbers {
    pub(super) messages: u64,
    pub(super) duplicated: Found<u64>,
    pub(super) out_of_order: Found<u64>,
    /// The first and last number of each observed run except the highest: most sinks have none.
    earlier: BTreeMap<u64, u64>,
    highest: (u64, u64),
}

impl SinkNumbers {
    fn new(number: u64) -> Self {
        Self {
            messages: 1,
            duplicated: Found::default(),
            out_of_order: Found::default(),
            earlier: BTreeMap::new(),
            highest: (number, number),
        }
    }

    /// Adds a number. Returns whether it is new.
    fn observe(&mut self, number: u64) -> bool {
        self.messages += 1;
        let (first, last) = self.highest;
        if (first..=last).contains(&number) {
            return false;
        }
        if number > last {
            if number == last + 1 {
                self.highest.1 = number;
            } else {
                self.earlier.insert(first, last);
                self.highest = (number, number);
            }
            return true;
        }
        let before = self.earlier.range(..=number).next_back();
        let before = before.map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let start = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        if number + 1 == first {
            self.earlier.remove(&start);
            self.highest.0 = start;
        } else {
            let end = self.earlier.remove(&(number + 1)).unwrap_or(number);
            self.earlier.insert(start, end);
        }
        true
    }

    /// The lowest and the highest observed number.
    pub(super) fn ends(&self) -> (u64, u64) {
        let first = self.earlier.first_key_value();
        let first = first.map_or(self.highest.0, |(&first, _)| first);
        (first, self.highest.1)
    }

    /// The missing numbers; from 1 if the stream still has its first messages.
    pub(super) fn missing(&self, from_the_first: bool, max: usize) -> Missing {
        let mut missing = Missing::default();
        let mut next = if from_the_first { 1 } else { self.ends().0 };
        let earlier = self.earlier.iter().map(|(&first, &last)| (first, last));
        for (first, last) in earlier.chain([self.highest]) {
            if next < first {
                missing.count += first - next;
                missing.runs.add(max, || (next, first - 1));
            }
            next = last.saturating_add(1);
        }
        missing
    }
}

/// Missing numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// The number of missing numbers.
    pub(super) count: u64,
    /// The first and last number of each run.
    pub(super) runs: Found<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct MessageIdGaps {
    /// The number of listed findings per kind and sink.
    max_listed: usize,
    names: BTreeMap<String, u32>,
    sinks: Vec<SinkNumbers>,
    subjects: HashMap<String, u32>,
    /// The highest number so far, by sink and subject.
    highest: HashMap<(u32, u32), u64>,
    /// Messages with another form of id, or none.
    pub(super) others: u64,
}

impl MessageIdGaps {
    pub(super) fn new(max_listed: usize) -> Self {
        Self {
            max_listed,
            names: BTreeMap::new(),
            sinks: Vec::new(),
            subjects: HashMap::new(),
            highest: HashMap::new(),
            others: 0,
        }
    }

    pub(super) fn observe(&mut self, message_id: Option<&str>, subject: &str) {
        let Some((name, number)) = message_id.and_then(parse) else {
            self.others += 1;
            return;
        };
        let subject = match self.subjects.get(subject) {
            Some(&subject) => subject,
            None => {
                let new = self.subjects.len() as u32;
                self.subjects.insert(subject.to_owned(), new);
                new
            }
        };
        let place = match self.names.get(name) {
            Some(&place) => place,
            None => {
                let place = self.sinks.len() as u32;
                self.names.insert(name.to_owned(), place);
                self.sinks.push(SinkNumbers::new(number));
                self.highest.insert((place, subject), number);
                return;
            }
        };
        let sink = &mut self.sinks[place as usize];
        if !sink.observe(number) {
            sink.duplicated.add(self.max_listed, || number);
            return;
        }
        let highest = self.highest.entry((place, subject)).or_insert(number);
        if number < *highest {
            sink.out_of_order.add(self.max_listed, || number);
        }
        *highest = number.max(*highest);
    }

    /// The sinks in the order of their names.
    pub(super) fn sinks(&self) -> impl ExactSizeIterator<Item = (&str, &SinkNumbers)> {
        let sink = |(name, &place): (_, &u32)| (String::as_str(name), &self.sinks[place as usize]);
        self.names.iter().map(sink)
    }
}

/// Parses `<sink>.<n>`; the number starts at 1 and has no sign and no leading zeros.
fn parse(message_id: &str) -> Option<(&str, u64)> {
    let (sink, number) = message_id.rsplit_once('.')?;
    let is_valid = !sink.is_empty() && number.starts_with(|c: char| ('1'..='9').contains(&c));
    Some((sink, number.parse().ok().filter(|_| is_valid)?))
}

#[cfg(test)]
#[path = "tests/message_ids.rs"]
mod tests;
