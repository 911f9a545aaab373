//! How far the generations of a log were read and have results: the side of the reader.

use std::sync::Arc;

use super::generation::{AtEnd, Descriptor, LossReason, Readable, Reading, Source, Time};
use super::history::History;
use super::identity::Head;
use crate::publish::input::trail::ChainProgress;

impl<F: Descriptor> History<F> {
    /// The generation to read; `None` without one, or if its content is not found yet.
    pub(super) fn next(&mut self, now: Time) -> Option<Reading<F>> {
        if !self.is_ready || self.waits_for_files {
            return None;
        }
        loop {
            // One that can't be opened does not hold up the others.
            let mut generations = self.generations.iter_mut();
            let generation = generations.find(|g| !g.is_finished && !g.is_sought())?;
            if self
                .scanned_since
                .is_none_or(|began| began <= generation.added)
            {
                self.needs_scan = true;
                return None;
            }
            if matches!(generation.source, Source::File(_)) && generation.head.is_empty() {
                let number = generation.number;
                if self.at_end(number, now) != AtEnd::Finish {
                    return None; // nothing was written to it yet
                }
                self.finish(number);
                continue;
            }
            let source = match &generation.source {
                Source::File(file) => {
                    let head = match &generation.head {
                        Head::Bytes(bytes) => bytes.clone(),
                        Head::Digest(_) => Vec::new(),
                    };
                    Readable::File(file.clone(), head)
                }
                Source::Fixed(file, form) => Readable::Fixed(file.clone(), *form),
                Source::Truncated { since } if now >= *since + self.rotate_wait => {
                    let line = generation.line;
                    let reason = LossReason::Truncated { line };
                    self.losses.push(generation.loss(reason));
                    generation.finish();
                    continue;
                }
                Source::Sought | Source::Truncated { .. } => return None,
                Source::Closed => {
                    generation.finish();
                    continue;
                }
            };
            let (number, chain) = (generation.number, generation.chain);
            let others = self.generations.iter().rev().filter(|g| g.number < number);
            let mut chains = others.filter_map(|g| g.chain);
            let previous_chain = chains.find(|chain| chain.last.is_some());
            let generation = self.generations.iter().find(|g| g.number == number)?;
            return Some(Reading {
                number,
                version: generation.version,
                name: Arc::clone(&generation.name),
                path: Arc::clone(&generation.path),
                source,
                offset: generation.offset,
                line: generation.line,
                chain,
                previous_chain,
            });
        }
    }

    /// Lines were read up to here. `sent` is the end of the last one that was sent: empty lines are not.
    pub(super) fn read(&mut self, number: u64, offset: u64, line: u64, sent: Option<u64>) {
        if let Some(generation) = self.by_number(number) {
            (generation.offset, generation.line) = (offset, line);
            generation.sent = sent.unwrap_or(generation.sent);
        }
    }

    /// The rows of the lines that were sent.
    pub(super) fn read_chain(&mut self, number: u64, chain: Option<ChainProgress>) {
        if let Some(generation) = self.by_number(number) {
            generation.chain = chain.or(generation.chain);
        }
    }

    /// The lines that were read belong to content that begins like this; empty if the source does not change. The file may
    /// have been truncated since.
    pub(super) fn read_start(&mut self, number: u64, start: Vec<u8>, now: Time) {
        let Some(generation) = self.by_number(number) else {
            return;
        };
        if start.is_empty() || generation.head.is_start_of(&start) {
            if !start.is_empty() {
                generation.head = Head::Bytes(start);
            }
        } else if !generation.head.matches(&start) {
            generation.head = Head::Bytes(start);
            generation.length = generation.offset;
            self.truncated(number, now);
        }
    }

    /// The reader is at the end of the source.
    pub(super) fn at_end(&mut self, number: u64, now: Time) -> AtEnd {
        let Some(index) = self.generations.iter().position(|g| g.number == number) else {
            return AtEnd::Wait;
        };
        let generation = &self.generations[index];
        match &generation.source {
            // No other file has the rest of its last line.
            Source::Fixed(..) if generation.is_compressed => AtEnd::Finish,
            Source::Fixed(..) => AtEnd::FinishCopy,
            Source::File(_) => {
                let younger = self.generations.iter().skip(index + 1);
                // While the new file is empty, writers still use the old one.
                let replaced = younger.filter_map(|g| g.filled).min();
                let quiet_since = replaced.map(|replaced| replaced.max(generation.grown));
                match quiet_since {
                    Some(since) if now >= since + self.rotate_wait => AtEnd::Finish,
                    _ => AtEnd::Wait,
                }
            }
            Source::Sought | Source::Truncated { .. } | Source::Closed => AtEnd::Wait,
        }
    }

    /// The generation was read to its end.
    pub(super) fn finish(&mut self, number: u64) {
        let Some(generation) = self.by_number(number) else {
            return;
        };
        let line = generation.line;
        let is_short = !generation.is_compressed && generation.length > generation.offset;
        let is_copy = matches!(generation.source, Source::Fixed(..));
        let short = (is_short && is_copy).then(|| generation.loss(LossReason::ShortCopy { line }));
        generation.finish();
        self.losses.extend(short);
    }

    /// Leaves out the copies and compressions, which contain only lines from before.
    pub(super) fn skip_complete_files(&mut self) {
        let unread = self.generations.iter_mut().filter(|g| !g.is_finished);
        for generation in unread.filter(|g| matches!(g.source, Source::Fixed(..))) {
            generation.finish();
        }
    }

    /// The source can't be read.
    pub(super) fn unreadable(&mut self, number: u64, error: String) {
        let Some(generation) = self.by_number(number) else {
            return;
        };
        let line = generation.line;
        let loss = generation.loss(LossReason::Unreadable { line, error });
        generation.finish();
        self.losses.push(loss);
    }

    /// All lines up to here have results.
    pub(super) fn settle(&mut self, number: u64, offset: u64, line: u64) {
        if let Some(generation) = self.by_number(number) {
            generation.settled = (offset, line);
        }
    }

    /// The rows of the lines that have results.
    pub(super) fn settle_chain(&mut self, number: u64, chain: Option<ChainProgress>) {
        if let Some(generation) = self.by_number(number) {
            generation.settled_chain = chain.or(generation.settled_chain);
        }
    }
}
