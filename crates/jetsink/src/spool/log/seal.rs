//! The proof of the log's extent, in a file apart from the segments.
//!
//! After 20 ms without a change, and each second under load, the writer notes the newest segment, and the index below which all records are
//! synced. So the newest segment can't lose records, or vanish, without a report. Two places a page apart are
//! written in turn: a torn one leaves the other.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};

use super::disk::Disk;
use super::event::split;
use super::format::{Head, Kind, PAGE, put_record};
use crate::spool::clock::ClockReading;

pub(crate) const NAME: &str = "sealed";

/// The segment id of the records in this file.
const ID: u64 = u64::from_le_bytes(*b"jetsink\0");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// The id of the newest segment.
    pub(crate) segment: u64,
    /// The first index of that segment.
    pub(crate) first: u64,
    pub(crate) durable_below: u64,
    pub(crate) clock: ClockReading,
}

/// A seal is written again once the system's clock was set so far.
const MAX_SHIFT: Duration = Duration::from_secs(1);

impl Seal {
    /// Whether an earlier seal says the same.
    fn is_said_by(&self, earlier: &Self) -> bool {
        let said = |seal: &Self| (seal.segment, seal.first, seal.durable_below);
        said(self) == said(earlier) && self.clock.shift_since(&earlier.clock) < MAX_SHIFT
    }
}

#[derive(Debug, Default)]
pub(crate) struct Seals {
    /// The place that is written next.
    place: u64,
    pub(super) last: Option<Seal>,
}

impl Seals {
    /// Reads the file of an earlier process. An unreadable seal is none.
    pub(crate) fn read(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.open(NAME)?;
        for place in [0, 1] {
            let mut bytes = vec![0; PAGE as usize];
            let read = file.read_at(place * PAGE, &mut bytes).unwrap_or(0);
            bytes.truncate(read);
            let Ok((head, mut body)) = split(&bytes.into(), ID) else {
                continue;
            };
            let seal = Seal {
                segment: body.try_get_u64_le().unwrap_or(0),
                first: head.index,
                durable_below: head.durable_below,
                clock: ClockReading {
                    spool: head.time,
                    system: body.try_get_u64_le().unwrap_or(0),
                },
            };
            let order = |seal: &Seal| (seal.durable_below, seal.clock.spool);
            if self.last.is_none_or(|last| order(&last) <= order(&seal)) {
                (self.last, self.place) = (Some(seal), 1 - place);
            }
        }
        Ok(())
    }

    /// Writes a seal, unless the file has it already.
    pub(super) fn write(&mut self, disk: &dyn Disk, seal: Seal) -> io::Result<()> {
        if self.last.is_some_and(|last| seal.is_said_by(&last)) {
            return Ok(());
        }
        let mut body = Vec::new();
        body.put_u64_le(seal.segment);
        body.put_u64_le(seal.clock.system);
        let mut bytes = Vec::new();
        let mut head = Head::of(Kind::Seal, seal.first, seal.durable_below, &body);
        head.time = seal.clock.spool;
        put_record(&head, ID, &body, &mut bytes);
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(NAME)?;
                disk.sync()?;
                file
            }
            file => file?,
        };
        file.write_at(self.place * PAGE, &mut [IoSlice::new(&bytes)])?;
        file.sync()?;
        (self.last, self.place) = (Some(seal), 1 - self.place);
        Ok(())
    }

    /// Removes the file: the log does not miss the newest segment then.
    pub(super) fn remove(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.last = None;
        disk.remove_if_present(NAME)
    }
}
