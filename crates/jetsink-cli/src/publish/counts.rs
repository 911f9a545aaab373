//! The counts of a run: the fields of `--json`, and the numbers of the summary.

use std::collections::BTreeMap;

use jetsink::{Delivery, Envelope, Receipt};
use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Events that were read; bad lines are not included.
    pub(super) read: u64,
    /// Events that a stream acknowledged, including duplicates.
    pub(super) stored: u64,
    /// Events, including those from the spool, whose message id the stream already contained.
    pub(super) duplicates: u64,
    /// Lines that are not events.
    pub(super) bad_lines: u64,
    /// Bad lines that end the command: they stay in their file.
    pub(super) breaks: u64,
    /// Bad lines and failed events that the file of `--rejected` does not contain, because it could not be written.
    pub(super) not_kept: u64,
    /// With `--lenient`: events that were read although they break a rule.
    pub(super) lenient: u64,
    /// These by the first rule that each breaks.
    pub(super) lenient_rules: BTreeMap<&'static str, u64>,
    /// With `--follow`: files with lines that were not read and can't be.
    pub(super) unread_files: u64,
    /// Bytes of these lines, as far as they are known.
    pub(super) unread_bytes: u64,
    /// Events that the broker or a limit refused.
    pub(super) failed: u64,
    /// Events that were not sent or not answered when the broker became unreachable, or the spool took no more events.
    pub(super) not_reached: u64,
    /// Failed and unreached events whose outcome is unknown.
    pub(super) unknown: u64,
    /// With `--spool`: events that went into the spool.
    pub(super) spooled: u64,
    /// Events delivered from the spool, including those of earlier runs.
    pub(super) delivered_from_spool: u64,
    /// Events that remain in the spool, including those of earlier runs.
    pub(super) left_in_spool: u64,
    /// Dead letters in the spool: refused for good, or too old.
    pub(super) dead_letters: u64,
    /// Dead letters of this run.
    pub(super) new_dead_letters: u64,
    /// Damaged records of the spool, which are lost: events, dead letters, or notes of the spool.
    pub(super) damaged: u64,
    /// Files of the spool that are missing, or have no readable record: the number of theirs may be unknown.
    pub(super) damaged_files: u64,
    /// Events that left the spool because a look-up found them stored.
    pub(super) found_stored: u64,
    /// Spooled events that later ones of their subject have replaced in the stream.
    pub(super) obsolete: u64,
    /// Spooled events that were sent though they may have been stored before.
    pub(super) possible_duplicates: u64,
    /// Bytes of the stored events.
    pub(super) bytes: u64,
    /// The last sequence number by stream.
    pub(super) streams: BTreeMap<String, u64>,
    /// With `--dry-run`: the number of events by subject.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) subjects: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds an event that was read.
    pub(super) fn read(&mut self, envelope: &Envelope) {
        self.read += 1;
        if let Some(rule) = envelope.deviation() {
            self.lenient += 1;
            *self.lenient_rules.entry(rule.name()).or_default() += 1;
        }
    }

    /// Adds a line that `--dry-run` checked.
    pub(super) fn checked(&mut self, envelope: &Envelope, bytes: usize) {
        self.read(envelope);
        self.bytes += bytes as u64;
        let subject = envelope.subject().to_string();
        *self.subjects.entry(subject).or_default() += 1;
    }

    /// Adds an event that is stored or spooled.
    pub(super) fn delivered(&mut self, delivery: &Delivery, bytes: usize) {
        self.bytes += bytes as u64;
        if let Delivery::Spooled = delivery {
            self.spooled += 1;
        }
        if let Delivery::Stored(ack) = delivery {
            self.stored += 1;
            self.duplicates += u64::from(ack.duplicate);
            match self.streams.get_mut(&ack.stream) {
                Some(last) => *last = (*last).max(ack.sequence),
                None => {
                    self.streams.insert(ack.stream.clone(), ack.sequence);
                }
            }
        }
    }

    /// Adds the receipt of the closed sink; `dead_before` counts the dead letters of earlier runs.
    pub(super) fn closed(&mut self, receipt: Receipt, dead_before: u64) {
        self.delivered_from_spool = receipt.delivered.saturating_sub(self.stored);
        // With those from the spool.
        self.duplicates = receipt.duplicates;
        self.left_in_spool = receipt.spooled;
        self.dead_letters = receipt.dead_letters;
        self.found_stored = receipt.found_stored;
        self.obsolete = receipt.obsolete;
        self.possible_duplicates = receipt.possible_duplicates;
        self.new_dead_letters = receipt.dead_letters.saturating_sub(dead_before);
    }

    /// Whether each event is stored or in the spool, those of earlier runs included.
    pub(super) fn all_taken(&self) -> bool {
        let not_sent = self.bad_lines + self.failed + self.not_reached;
        let damaged = self.damaged + self.damaged_files;
        not_sent + self.new_dead_letters + damaged + self.unread_files == 0
    }

    /// Lines that `--rejected` keeps.
    pub(super) fn rejected(&self) -> u64 {
        self.bad_lines + self.failed - self.breaks
    }
}
