//! fjall: a log-structured merge tree with a journal, in a directory of files.

use std::ops::Range;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{CACHE_BYTES, Result, Store};

/// The least that fjall takes; by default its journals may hold 512 MiB of what was deleted long ago.
const JOURNAL_BYTES: u64 = 64 << 20;

pub(crate) struct Fjall {
    database: Database,
    events: Keyspace,
    /// Known so that a deletion need not look for the head among tombstones.
    head: u64,
}

fn number(key: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(key.try_into()?))
}

impl Fjall {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let database = Database::builder(dir)
            .cache_size(u64::from(CACHE_BYTES))
            .max_journaling_size(JOURNAL_BYTES)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(u64::from(CACHE_BYTES));
        let events = database.keyspace("events", options)?;
        let mut store = Self {
            database,
            events,
            head: 0,
        };
        store.head = store.bounds()?.map_or(0, |keys| keys.start);
        Ok(store)
    }
}

impl Store for Fjall {
    fn append(&mut self, first: u64, group: &[&[u8]]) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (key, record) in (first..).zip(group) {
            batch.insert(&self.events, key.to_be_bytes(), *record);
        }
        Ok(batch.commit()?)
    }

    fn read(&mut self, from: u64, limit: usize, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for entry in self
            .events
            .range(from.max(self.head).to_be_bytes()..)
            .take(limit)
        {
            let (key, record) = entry.into_inner()?;
            visit(number(&key)?, &record);
        }
        Ok(())
    }

    fn delete_before(&mut self, end: u64) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for key in self.head..end {
            batch.remove(&self.events, key.to_be_bytes());
        }
        batch.commit()?;
        self.head = self.head.max(end);
        Ok(())
    }

    fn bounds(&mut self) -> Result<Option<Range<u64>>> {
        let Some(first) = self.events.first_key_value() else {
            return Ok(None);
        };
        let Some(last) = self.events.last_key_value() else {
            return Ok(None);
        };
        Ok(Some(number(&first.key()?)?..number(&last.key()?)? + 1))
    }

    fn reclaim(&mut self) -> Result<()> {
        self.events.rotate_memtable_and_wait()?;
        Ok(self.events.major_compact()?)
    }

    fn verify(&mut self) -> Result<Option<bool>> {
        Ok(None)
    }
}
