//! The yardstick: records with a length before them in one file, and a cursor in another. It has no
//! checksums, no recovery and gives no space back, so nothing that does can be expected to be faster.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::{Result, Store};

const LENGTH: usize = 4;

pub(crate) struct FileLog {
    log: File,
    cursor: File,
    head: u64,
    /// Where each record from the head on begins.
    starts: VecDeque<u64>,
    end: u64,
    buffer: Vec<u8>,
}

impl FileLog {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let open = |name| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
        };
        let (log, cursor) = (open("log")?, open("cursor")?);
        let mut head = [0; 8];
        if cursor.metadata()?.len() == 8 {
            cursor.read_exact_at(&mut head, 0)?;
        }
        let head = u64::from_le_bytes(head);
        let total = log.metadata()?.len();
        let (mut starts, mut end) = (VecDeque::new(), 0);
        let mut reader = BufReader::new(&log);
        while end < total {
            let mut length = [0; LENGTH];
            reader.read_exact(&mut length)?;
            starts.push_back(end);
            let length = u32::from_le_bytes(length);
            reader.seek_relative(i64::from(length))?;
            end += LENGTH as u64 + u64::from(length);
        }
        starts.drain(..usize::try_from(head)?.min(starts.len()));
        Ok(Self {
            log,
            cursor,
            head,
            starts,
            end,
            buffer: Vec::new(),
        })
    }
}

impl Store for FileLog {
    fn append(&mut self, _first: u64, group: &[&[u8]]) -> Result<()> {
        self.buffer.clear();
        for record in group {
            self.starts.push_back(self.end + self.buffer.len() as u64);
            self.buffer
                .extend_from_slice(&u32::try_from(record.len())?.to_le_bytes());
            self.buffer.extend_from_slice(record);
        }
        self.log.write_all_at(&self.buffer, self.end)?;
        self.log.sync_data()?;
        self.end += self.buffer.len() as u64;
        Ok(())
    }

    fn read(&mut self, from: u64, limit: usize, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let skipped = usize::try_from(from.saturating_sub(self.head))?;
        let Some(start) = self.starts.get(skipped) else {
            return Ok(());
        };
        let mut reader = BufReader::with_capacity(1 << 16, &self.log);
        reader.seek(SeekFrom::Start(*start))?;
        for key in (self.head + skipped as u64..).take(limit.min(self.starts.len() - skipped)) {
            let mut length = [0; LENGTH];
            reader.read_exact(&mut length)?;
            self.buffer.resize(u32::from_le_bytes(length) as usize, 0);
            reader.read_exact(&mut self.buffer)?;
            visit(key, &self.buffer);
        }
        Ok(())
    }

    fn delete_before(&mut self, end: u64) -> Result<()> {
        let count = usize::try_from(end.saturating_sub(self.head))?.min(self.starts.len());
        self.starts.drain(..count);
        self.head += count as u64;
        self.cursor.write_all_at(&self.head.to_le_bytes(), 0)?;
        self.cursor.sync_data()?;
        Ok(())
    }

    fn bounds(&mut self) -> Result<Option<Range<u64>>> {
        let count = self.starts.len() as u64;
        Ok((count > 0).then_some(self.head..self.head + count))
    }

    fn reclaim(&mut self) -> Result<()> {
        Ok(())
    }

    fn verify(&mut self) -> Result<Option<bool>> {
        Ok(None)
    }
}
