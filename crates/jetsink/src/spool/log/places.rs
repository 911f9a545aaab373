//! The places of one subject's events, a few bytes per event. Pure.

use std::collections::VecDeque;

/// A record's place in the log. The segment follows from the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Place {
    pub(crate) fn new(index: u64, offset: u64, size: u64) -> Self {
        Self {
            index,
            offset,
            size,
        }
    }

    /// The offset behind the record.
    pub(crate) fn end(self) -> u64 {
        self.offset + self.size
    }
}

/// Places in ascending order of their index, as differences of variable length.
#[derive(Debug, Default)]
pub(crate) struct Places {
    full: VecDeque<Block>,
    /// The block behind those. Most of 100,000 subjects have no other: it is here, and costs no miss of the cache.
    last: Block,
    /// Bytes of the first block that were removed.
    removed: usize,
}

/// The bytes of a full block.
const BLOCK: usize = 1_024;

#[derive(Debug, Default)]
struct Block {
    /// The place before the first one that is left.
    before: Place,
    last: Place,
    bytes: Vec<u8>,
}

impl Places {
    /// Adds a place behind the last one. A place before it is not added: no writer makes such a file.
    pub(crate) fn push(&mut self, place: Place) {
        let before = self.last.last;
        if !self.is_empty() && place.index <= before.index {
            return;
        }
        if self.last.bytes.len() >= BLOCK {
            let next = Block {
                before,
                last: before,
                bytes: Vec::new(),
            };
            self.full.push_back(std::mem::replace(&mut self.last, next));
        }
        let bytes = &mut self.last.bytes;
        put(bytes, place.index - before.index);
        let step = place.offset.cast_signed() - before.end().cast_signed();
        put(bytes, ((step << 1) ^ (step >> 63)).cast_unsigned());
        put(bytes, place.size);
        self.last.last = place;
    }

    /// The places from `index` on.
    pub(crate) fn from(&self, index: u64) -> impl Iterator<Item = Place> {
        let first = self.full.partition_point(|block| block.last.index < index);
        let blocks = self.full.range(first..).chain([&self.last]).enumerate();
        let places = blocks.flat_map(move |(at, block)| {
            let removed = if first + at == 0 { self.removed } else { 0 };
            let (mut before, mut rest) = (block.before, &block.bytes[removed..]);
            std::iter::from_fn(move || {
                before = next(before, &mut rest)?;
                Some(before)
            })
        });
        places.skip_while(move |place| place.index < index)
    }

    /// Removes places from the front for as long as `is_gone` says so.
    pub(crate) fn trim(&mut self, is_gone: impl Fn(&Place) -> bool) {
        loop {
            let block = self.full.front_mut().unwrap_or(&mut self.last);
            let mut rest = &block.bytes[self.removed..];
            let Some(first) = next(block.before, &mut rest).filter(&is_gone) else {
                return;
            };
            block.before = first;
            self.removed = block.bytes.len() - rest.len();
            if rest.is_empty() {
                self.removed = 0;
                if self.full.pop_front().is_none() {
                    self.last = Block::default();
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.bytes.is_empty()
    }
}

/// The place behind `before`.
fn next(before: Place, rest: &mut &[u8]) -> Option<Place> {
    let index = before.index + get(rest)?;
    let step = get(rest)?;
    let step = (step >> 1).cast_signed() ^ -(step & 1).cast_signed();
    let offset = before.end().checked_add_signed(step)?;
    let size = get(rest)?;
    Some(Place::new(index, offset, size))
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_come_back_from_any_index_and_after_any_trim(
            steps in proptest::collection::vec((1_u64..1_000, 0_u64..1 << 40, 56_u64..1 << 20), 0..2_000),
            from in 0_u64..1_000_000,
            trims in proptest::collection::vec(0_u64..1_000_000, 0..4),
        ) {
            let mut index = 0;
            let mut plain = VecDeque::new();
            let mut places = Places::default();
            for (step, offset, size) in steps {
                index += step;
                let place = Place { index, offset, size };
                plain.push_back(place);
                places.push(place);
            }
            for trim in trims {
                places.trim(|place| place.index < trim);
                plain.retain(|place| place.index >= trim);
                prop_assert!(places.from(0).eq(plain.iter().copied()));
                prop_assert_eq!(places.is_empty(), plain.is_empty());
            }
            let expected = plain.iter().filter(|place| place.index >= from);
            prop_assert!(places.from(from).eq(expected.copied()));
        }
    }
}
