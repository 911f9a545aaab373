//! SQLite: a B-tree in one file with a write-ahead log beside it.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::store::{CACHE_BYTES, Result, Store};

pub(crate) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let connection = Connection::open(dir.join("events.sqlite"))?;
        // One process owns a spool; it also spares the shared-memory file.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -i64::from(CACHE_BYTES / 1024))?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS event (n INTEGER PRIMARY KEY, body BLOB NOT NULL)",
        )?;
        Ok(Self { connection })
    }
}

impl Store for Sqlite {
    fn append(&mut self, first: u64, group: &[&[u8]]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO event (n, body) VALUES (?1, ?2)")?;
            for (key, record) in (first..).zip(group) {
                insert.execute(params![i64::try_from(key)?, record])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn read(&mut self, from: u64, limit: usize, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let sql = "SELECT n, body FROM event WHERE n >= ?1 ORDER BY n LIMIT ?2";
        let mut select = self.connection.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = select.query(params![i64::try_from(from)?, limit])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            visit(u64::try_from(key)?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn delete_before(&mut self, end: u64) -> Result<()> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM event WHERE n < ?1")?;
        delete.execute(params![i64::try_from(end)?])?;
        Ok(())
    }

    fn bounds(&mut self) -> Result<Option<Range<u64>>> {
        // One query for both would walk the table.
        let bound = |sql| {
            self.connection
                .query_row(sql, [], |row| row.get::<_, Option<i64>>(0))
        };
        let first = bound("SELECT min(n) FROM event")?;
        let last = bound("SELECT max(n) FROM event")?;
        let Some((first, last)) = first.zip(last) else {
            return Ok(None);
        };
        Ok(Some(u64::try_from(first)?..u64::try_from(last)? + 1))
    }

    fn reclaim(&mut self) -> Result<()> {
        self.connection.execute_batch("VACUUM")?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn verify(&mut self) -> Result<Option<bool>> {
        let said: String = self
            .connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        Ok(Some(said == "ok"))
    }
}
