//! redb: a copy-on-write B-tree in one file.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Builder, ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};

use super::redb_backends::{FilledAhead, WithoutRepairMark};
use crate::store::{CACHE_BYTES, Result, Store};

const NAME: &str = "events.redb";
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// Three ways to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    QuickRepair,
    FilledAhead,
}

pub(crate) struct Redb {
    database: Database,
    mode: Mode,
}

impl Redb {
    pub(crate) fn open(dir: &Path, mode: Mode) -> Result<Self> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES as usize);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(NAME))?;
        let database = match mode {
            Mode::FilledAhead => builder.create_with_backend(FilledAhead::new(file)?)?,
            _ => builder.create_with_backend(FileBackend::new(file)?)?,
        };
        let store = Self { database, mode };
        if let Err(TableError::TableDoesNotExist(_)) =
            store.database.begin_read()?.open_table(EVENTS)
        {
            let write = store.begin()?;
            write.open_table(EVENTS)?;
            write.commit()?;
        }
        Ok(store)
    }

    fn begin(&self) -> Result<WriteTransaction> {
        let mut write = self.database.begin_write()?;
        write.set_quick_repair(self.mode == Mode::QuickRepair);
        Ok(write)
    }
}

impl Store for Redb {
    fn append(&mut self, first: u64, group: &[&[u8]]) -> Result<()> {
        let write = self.begin()?;
        {
            let mut table = write.open_table(EVENTS)?;
            for (key, record) in (first..).zip(group) {
                table.insert(key, *record)?;
            }
        }
        Ok(write.commit()?)
    }

    fn read(&mut self, from: u64, limit: usize, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let table = self.database.begin_read()?.open_table(EVENTS)?;
        for entry in table.range(from..)?.take(limit) {
            let (key, record) = entry?;
            visit(key.value(), record.value());
        }
        Ok(())
    }

    fn delete_before(&mut self, end: u64) -> Result<()> {
        let write = self.begin()?;
        write.open_table(EVENTS)?.retain_in(..end, |_, _| false)?;
        Ok(write.commit()?)
    }

    fn bounds(&mut self) -> Result<Option<Range<u64>>> {
        let table = self.database.begin_read()?.open_table(EVENTS)?;
        let first = table.first()?.map(|(key, _)| key.value());
        let last = table.last()?.map(|(key, _)| key.value());
        Ok(first.zip(last).map(|(first, last)| first..last + 1))
    }

    fn reclaim(&mut self) -> Result<()> {
        // Each call moves what it can and says whether another may find more.
        while self.database.compact()? {}
        Ok(())
    }

    fn verify(&mut self) -> Result<Option<bool>> {
        Ok(Some(self.database.check_integrity()?))
    }
}

/// Reads what can be read of a file that redb refuses; returns how many records were shown.
pub(crate) fn salvage(dir: &Path, end: u64, visit: &mut dyn FnMut(u64, &[u8])) -> Result<u64> {
    let backend = WithoutRepairMark(FileBackend::new(File::open(dir.join(NAME))?)?);
    let database = Builder::new()
        .set_concurrency_mode(ConcurrencyMode::SingleWriter)
        .open_read_only_with_backend(backend)?;
    let table = database.begin_read()?.open_table(EVENTS)?;
    let mut shown = 0;
    // One by one: a damaged page ends a range, but not the next look-up. Some damage is a panic.
    for key in 0..end {
        let look_up = AssertUnwindSafe(|| table.get(key));
        if let Ok(Ok(Some(record))) = catch_unwind(look_up) {
            shown += 1;
            visit(key, record.value());
        }
    }
    Ok(shown)
}
