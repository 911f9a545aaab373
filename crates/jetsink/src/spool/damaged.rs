//! Reading what can still be read of a file that redb refuses.
//!
//! After a crash redb verifies every page and refuses the whole file for one that is damaged. Read-only
//! and without the mark that asks for that, it shows the rest. Each record carries a checksum of ours,
//! so nothing wrong is taken for an event; what is older than the damage left it, a page that was freed
//! say, is looked up in the stream before it is sent.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use redb::{Builder, ConcurrencyMode, ReadableDatabase as _, ReadableTableMetadata as _};
use redb::{ReadOnlyDatabase, ReadableTable as _};

use super::record::Record;
use super::store::{CACHE_BYTES, caught};
use super::tables::{EVENTS, decode};

/// Where redb's header holds its flags, and the one that asks for a repair (redb's docs/design.md).
/// Held by `of_200_bytes_flipped_after_a_crash_each_loss_is_told_and_most_is_kept`.
const FLAGS: u64 = 9;
const REPAIR: u8 = 2;

/// Gives each event of `copy` that can be read to `keep`, and returns how many the file says it holds.
/// Changes the copy.
pub(super) fn read_damaged(copy: &Path, mut keep: impl FnMut(Record)) -> Option<u64> {
    hide_repair_mark(copy).ok()?;
    let database = caught(|| open(copy)).ok()?.ok()?;
    let total = caught(|| read(&database, &mut keep)).ok().flatten();
    let _ = caught(|| drop(database));
    total
}

fn open(copy: &Path) -> Result<ReadOnlyDatabase, redb::DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter)
        .open_read_only(copy)
}

fn hide_repair_mark(copy: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(copy)?;
    let mut flags = [0];
    file.seek(SeekFrom::Start(FLAGS))?;
    file.read_exact(&mut flags)?;
    file.seek(SeekFrom::Start(FLAGS))?;
    file.write_all(&[flags[0] & !REPAIR])
}

type Key = (Vec<u8>, u64);

fn read(database: &ReadOnlyDatabase, keep: &mut impl FnMut(Record)) -> Option<u64> {
    let events = database.begin_read().ok()?.open_table(EVENTS).ok()?;
    let total = events.len().ok();
    let mut last: Option<Key> = None;
    // Up to the damage from one side, and back to it from the other.
    let _ = caught(|| {
        for entry in events.iter().ok()?.map_while(Result::ok) {
            let (subject, index) = entry.0.value();
            // A page of another time would not stand in order.
            if last
                .as_ref()
                .is_some_and(|(s, i)| (subject, index) <= (s.as_slice(), *i))
            {
                break;
            }
            last = Some((subject.to_vec(), index));
            if let Ok(record) = decode(subject, index, entry.1.value()) {
                keep(record);
            }
        }
        Some(())
    });
    let mut first: Option<Key> = None;
    let _ = caught(|| {
        for entry in events.iter().ok()?.rev().map_while(Result::ok) {
            let key = entry.0.value();
            let read_before = last
                .as_ref()
                .is_some_and(|(s, i)| key <= (s.as_slice(), *i));
            let out_of_order = first
                .as_ref()
                .is_some_and(|(s, i)| key >= (s.as_slice(), *i));
            if read_before || out_of_order {
                break;
            }
            first = Some((key.0.to_vec(), key.1));
            if let Ok(record) = decode(key.0, key.1, entry.1.value()) {
                keep(record);
            }
        }
        Some(())
    });
    total
}
