//! The segment that is written to, and the beginning of a new one.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::DiskFile;
use super::event::NewRecord;
use super::format::{HEAD, Head, Kind, PAGE, Range, Start, put_record};
use super::index::Segment;
use super::places::Place;
use super::writer::{Log, segment_name};
use crate::random::random_number;
use crate::sync::lock;

/// A payload up to this size is copied: that is faster than one more part of a vectored write.
const COPIED: usize = 4_096;

/// The zeros that are written ahead of the records at a time.
const ZEROS: u64 = 1 << 20;

/// A longer group gains less by them than it costs to write each byte twice.
const MAX_EXTENDED: u64 = 128 << 10;

#[derive(Debug)]
pub(super) struct Active {
    pub(super) id: u64,
    pub(super) first: u64,
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) tail: u64,
    /// The end of the zeros behind the tail.
    pub(super) zeros_end: u64,
}

impl Active {
    /// Writes records with indexes from `next` on at the tail, behind `start`, and syncs them. `bytes` is an empty buffer.
    pub(super) fn write(
        &self,
        start: Vec<u8>,
        records: &[&NewRecord],
        next: u64,
        bytes: &mut Vec<u8>,
    ) -> io::Result<Vec<Place>> {
        bytes.extend(start);
        // Long payloads are not copied. Each has its position among the bytes.
        let mut payloads = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        let mut offset = self.tail + bytes.len() as u64;
        for (record, index) in records.iter().zip(next..) {
            let size = record.head.size();
            places.push(Place::new(index, offset, size));
            offset += size;
            let head = Head {
                index,
                durable_below: next,
                ..record.head
            };
            head.encode(self.id, bytes);
            bytes.extend_from_slice(&record.fields);
            if record.payload.len() <= COPIED {
                bytes.extend_from_slice(&record.payload);
            } else {
                payloads.push((bytes.len(), &record.payload));
            }
            let body = record.fields.len() + record.payload.len();
            bytes.resize(bytes.len() + size as usize - HEAD - body, 0);
        }
        self.write_group(bytes, &payloads)?;
        self.file.sync()?;
        Ok(places)
    }

    fn write_group(&self, bytes: &[u8], payloads: &[(usize, &Bytes)]) -> io::Result<()> {
        let mut parts = Vec::with_capacity(1 + 2 * payloads.len());
        let mut from = 0;
        for (at, payload) in payloads {
            parts.push(IoSlice::new(&bytes[from..*at]));
            parts.push(IoSlice::new(payload));
            from = *at;
        }
        parts.push(IoSlice::new(&bytes[from..]));
        self.file.write_at(self.tail, &mut parts)
    }
}

impl Log {
    /// Begins a segment; returns the bytes of its start, which are not written. An error leaves nothing in
    /// doubt: a segment without a record is none.
    pub(super) fn begin(&mut self) -> io::Result<(Active, Vec<u8>)> {
        let number = self.next_number;
        self.next_number += 1;
        // A reader that looks for the id must not find it in the zeros behind the records.
        let id = random_number().max(1);
        let name = segment_name(number, id);
        let file = self.disk.create(&name)?;
        let start = {
            let index = lock(&self.index);
            let segments = index.segments.values();
            let left: BTreeSet<u64> = segments.clone().flat_map(|s| s.unmarked.clone()).collect();
            Start {
                state: index.state.clone(),
                older: segments.map(|s| (s.id, s.range())).collect(),
                left: left.into_iter().collect(),
            }
        };
        let bytes = starts(&start, id, self.next_index, &[]);
        let active = Active {
            id,
            first: self.next_index,
            name,
            file,
            tail: 0,
            zeros_end: 0,
        };
        Ok((active, bytes))
    }

    /// Fills the file with zeros ahead of a short group that ends at `end` and follows a short one, if there is ample
    /// room: the syncs of the groups behind it commit no new length.
    pub(super) fn extend(&mut self, active: &mut Active, end: u64) {
        let group = end - active.tail;
        let longest = group.max(std::mem::replace(&mut self.last_group, group));
        let until = (active.tail + ZEROS).min(self.segment_bytes);
        let has_room = || self.disk.free_bytes().is_none_or(|free| free >= 4 * ZEROS);
        if end <= active.zeros_end || longest > MAX_EXTENDED || until <= end || !has_room() {
            return;
        }
        let zeros = vec![0; (until - end) as usize];
        // Without them the file grows by each group.
        if active
            .file
            .write_at(end, &mut [IoSlice::new(&zeros)])
            .is_ok()
        {
            active.zeros_end = until;
        }
    }

    /// Adds a segment whose first records are synced to the index.
    pub(super) fn add_active(&self, active: &Active) {
        let (first, end, bytes) = (active.first, active.first, 0);
        let range = Range { first, end, bytes };
        let mut segment = Segment::new(active.id, &active.name, range);
        (segment.is_active, segment.is_scanned) = (true, true);
        lock(&self.index).add_segment(segment);
    }
}

/// The start record, other records of the start, and the start record again on another page.
pub(super) fn starts(start: &Start, id: u64, first: u64, others: &[u8]) -> Vec<u8> {
    let body = start.encode();
    let head = Head::of(Kind::Start, first, first, &body);
    let mut bytes = Vec::new();
    put_record(&head, id, &body, &mut bytes);
    bytes.extend_from_slice(others);
    bytes.resize(bytes.len().next_multiple_of(PAGE as usize), 0);
    put_record(&head, id, &body, &mut bytes);
    bytes
}
