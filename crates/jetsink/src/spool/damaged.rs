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
use redb::{ReadOnlyDatabase, ReadableTable as _, TableDefinition};

use super::dead::DeadLetter;
use super::record::Record;
use super::store::{CACHE_BYTES, caught};
use super::tables::{DEAD, EVENTS, decode};

/// Where redb's header holds its flags, and the one that asks for a repair (redb's docs/design.md).
/// Held by `of_200_bytes_flipped_after_a_crash_each_loss_is_told_and_most_is_kept`.
const FLAGS: u64 = 9;
const REPAIR: u8 = 2;

/// Where it holds the version of its format, once for each of its two commits, and the only one that we
/// have written (likewise). Held by `a_bit_of_the_stores_version_costs_nothing`.
pub(super) const VERSIONS: [u64; 2] = [64, 192];
const VERSION: u8 = 3;

/// How many events and dead letters a file says it holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) events: Option<u64>,
    pub(super) dead_letters: Option<u64>,
}

/// Gives each event and dead letter of `copy` that can be read to `keep`. Changes the copy.
pub(super) fn read_damaged(copy: &Path, mut keep: impl FnMut(Salvaged)) -> Held {
    let database = make_readable(copy)
        .ok()
        .and_then(|()| caught(|| open(copy)).ok()?.ok());
    let Some(database) = database else {
        return Held::default();
    };
    let own = |(subject, index): (&[u8], u64)| (subject.to_vec(), index);
    let events = read(&database, EVENTS, own, |(subject, index), bytes| {
        if let Ok(record) = decode(&subject, index, bytes) {
            keep(Salvaged::Event(record));
        }
    });
    let dead_letters = read(
        &database,
        DEAD,
        |index: u64| index,
        |_, bytes| {
            if let Ok(letter) = DeadLetter::decode(bytes) {
                keep(Salvaged::DeadLetter(letter));
            }
        },
    );
    let _ = caught(|| drop(database));
    Held {
        events,
        dead_letters,
    }
}

/// What could be read.
pub(super) enum Salvaged {
    Event(Record),
    DeadLetter(DeadLetter),
}

fn open(copy: &Path) -> Result<ReadOnlyDatabase, redb::DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter)
        .open_read_only(copy)
}

/// Takes the mark away that asks for a repair, and mends the versions: one of another format would not be
/// read at all, and what is read has checksums.
fn make_readable(copy: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(copy)?;
    let mut flags = [0];
    file.seek(SeekFrom::Start(FLAGS))?;
    file.read_exact(&mut flags)?;
    file.seek(SeekFrom::Start(FLAGS))?;
    file.write_all(&[flags[0] & !REPAIR])?;
    for version in VERSIONS {
        file.seek(SeekFrom::Start(version))?;
        file.write_all(&[VERSION])?;
    }
    Ok(())
}

/// Visits what can be read of a table, up to the damage from one side, and back to it from the other;
/// gives how much the table says it holds.
fn read<K: redb::Key + 'static, Owned: Ord + Clone>(
    database: &ReadOnlyDatabase,
    definition: TableDefinition<'static, K, &'static [u8]>,
    own: impl for<'k> Fn(K::SelfType<'k>) -> Owned,
    mut visit: impl FnMut(Owned, &[u8]),
) -> Option<u64> {
    let table = caught(|| database.begin_read().ok()?.open_table(definition).ok()).ok()??;
    let held = caught(|| table.len().ok()).ok().flatten();
    let mut last: Option<Owned> = None;
    let _ = caught(|| {
        for (key, value) in table.iter().ok()?.map_while(Result::ok) {
            let key = own(key.value());
            // A page of another time would not stand in order.
            if last.as_ref().is_some_and(|last| key <= *last) {
                break;
            }
            last = Some(key.clone());
            visit(key, value.value());
        }
        Some(())
    });
    let mut first: Option<Owned> = None;
    let _ = caught(|| {
        for (key, value) in table.iter().ok()?.rev().map_while(Result::ok) {
            let key = own(key.value());
            let read_before = last.as_ref().is_some_and(|last| key <= *last);
            if read_before || first.as_ref().is_some_and(|first| key >= *first) {
                break;
            }
            first = Some(key.clone());
            visit(key, value.value());
        }
        Some(())
    });
    held
}
