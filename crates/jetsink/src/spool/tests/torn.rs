//! The file cut at every byte of its last commit: a write that a power cut tore, and a file that ends
//! there.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use crate::spool::backend::Guarded;
use crate::spool::record::Record;
use crate::spool::store::{OpenError, Store};
use crate::spool::tables::Batch;
use crate::spool::tests::appending;
use crate::{Envelope, MessageId, Subject};

const PAGE: u64 = 4_096;

/// What a store did to its file.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLength(u64),
}

/// A file in memory. Changes stay beside it, so that the same file can be opened again and again.
#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    length: u64,
    changed_pages: HashMap<u64, Vec<u8>>,
    changes: Vec<Change>,
}

impl Disk {
    fn page(&self, number: u64) -> Vec<u8> {
        if let Some(page) = self.changed_pages.get(&number) {
            return page.clone();
        }
        let start = ((number * PAGE) as usize).min(self.bytes.len());
        let end = (start + PAGE as usize).min(self.bytes.len());
        let mut page = self.bytes[start..end].to_vec();
        page.resize(PAGE as usize, 0);
        page
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let page = self.page(at / PAGE);
            let from = (at % PAGE) as usize;
            let count = (page.len() - from).min(out.len() - done);
            out[done..done + count].copy_from_slice(&page[from..from + count]);
            done += count;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let mut page = self.page(at / PAGE);
            let from = (at % PAGE) as usize;
            let count = (page.len() - from).min(data.len() - done);
            page[from..from + count].copy_from_slice(&data[done..done + count]);
            self.changed_pages.insert(at / PAGE, page);
            done += count;
        }
        self.length = self.length.max(offset + data.len() as u64);
        let data = data.to_vec();
        self.changes.push(Change::Write { offset, data });
    }

    /// Makes the changes part of the file.
    fn settle(&mut self) {
        self.bytes.resize(self.length as usize, 0);
        for (number, page) in std::mem::take(&mut self.changed_pages) {
            let start = (number * PAGE) as usize;
            let end = (start + page.len()).min(self.bytes.len());
            if start < end {
                self.bytes[start..end].copy_from_slice(&page[..end - start]);
            }
        }
        self.changes.clear();
    }

    /// Forgets the changes.
    fn revert(&mut self) {
        self.changed_pages.clear();
        self.changes.clear();
        self.length = self.bytes.len() as u64;
    }
}

#[derive(Debug, Clone, Default)]
struct InMemory(Arc<Mutex<Disk>>);

impl StorageBackend for InMemory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().length)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        if offset + out.len() as u64 > disk.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk.read(offset, out);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.length = len;
        disk.changes.push(Change::SetLength(len));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().write(offset, data);
        Ok(())
    }
}

fn open(disk: &InMemory) -> Result<Store, OpenError> {
    let disk = disk.clone();
    let folder = std::env::temp_dir();
    let opened = Store::open_with(
        &folder.join("in memory"),
        Box::new(move |builder, failure| {
            builder.create_with_backend(Guarded::new(disk.clone(), failure))
        }),
    );
    opened.map(|(store, _)| store)
}

fn batch(indexes: std::ops::Range<u64>, removed: &[u64]) -> Batch {
    let subject = Subject::new("a").unwrap();
    let records = indexes.map(|index| Record {
        index,
        spooled_at: 0,
        may_be_stored: false,
        envelope: Envelope::new(subject.clone(), format!("event {index}").into())
            .with_message_id(MessageId::new(format!("sink.{index}")).unwrap()),
    });
    Batch {
        remove: removed
            .iter()
            .map(|index| (subject.clone(), *index))
            .collect(),
        ..appending(records)
    }
}

fn indexes(store: &Store) -> Vec<u64> {
    let chunk = store.lane(&Subject::new("a").unwrap(), 0, 1_000).unwrap();
    let entries = chunk.entries.into_iter().map(|(index, _, record)| {
        let record = record.unwrap();
        assert_eq!(
            record.envelope.payload(),
            format!("event {index}").as_bytes()
        );
        index
    });
    entries.collect()
}

/// A file with twenty events, and the changes of a commit that appends four and removes four.
fn last_commit() -> (InMemory, Vec<Change>) {
    let disk = InMemory::default();
    let store = open(&disk).unwrap();
    store.commit(&batch(0..20, &[])).unwrap();
    disk.0.lock().unwrap().settle();
    store.commit(&batch(20..24, &[0, 1, 2, 3])).unwrap();
    let changes = disk.0.lock().unwrap().changes.clone();
    disk.0.lock().unwrap().revert();
    // Dropped, it would write.
    std::mem::forget(store);
    (disk, changes)
}

#[test]
fn a_commit_that_is_torn_at_any_byte_is_made_or_not_made() {
    let (disk, changes) = last_commit();
    let (before, after): (Vec<u64>, Vec<u64>) = ((0..20).collect(), (4..24).collect());
    let (mut cuts, mut made) = (0, 0);
    for change in changes {
        let (offset, data) = match change {
            Change::SetLength(length) => {
                let mut disk = disk.0.lock().unwrap();
                disk.length = length;
                disk.settle();
                continue;
            }
            Change::Write { offset, data } => (offset, data),
        };
        for (at, byte) in (offset as usize..).zip(data) {
            {
                let mut disk = disk.0.lock().unwrap();
                if disk.bytes.get(at) == Some(&byte) {
                    continue; // the same file as before
                }
                disk.length = disk.length.max(at as u64 + 1);
                disk.settle();
                disk.bytes[at] = byte;
            }
            cuts += 1;
            let store = open(&disk).unwrap_or_else(|error| panic!("cut {cuts}: {error}"));
            let found = indexes(&store);
            assert!(found == before || found == after, "cut {cuts}: {found:?}");
            made += u64::from(found == after);
            drop(store);
            disk.0.lock().unwrap().revert();
        }
    }
    println!("{cuts} files that differ, {made} of them with the commit made");
    assert!(cuts > 1_000 && made > 0 && made < cuts);
}

#[test]
fn a_file_that_ends_at_any_byte_of_its_last_commit_opens_or_says_why_not() {
    let (disk, changes) = last_commit();
    for change in &changes {
        let mut disk = disk.0.lock().unwrap();
        match change {
            Change::Write { offset, data } => disk.write(*offset, data),
            Change::SetLength(length) => disk.length = *length,
        }
    }
    let whole = {
        let mut disk = disk.0.lock().unwrap();
        disk.settle();
        disk.bytes.clone()
    };
    let writes = changes.iter().filter_map(|change| match change {
        Change::Write { offset, data } => Some(*offset..*offset + data.len() as u64),
        Change::SetLength(_) => None,
    });
    let (mut cuts, mut damaged) = (0, 0);
    for end in writes.flatten() {
        {
            let mut disk = disk.0.lock().unwrap();
            disk.bytes.clear();
            disk.bytes.extend_from_slice(&whole[..end as usize]);
            disk.revert();
        }
        cuts += 1;
        match open(&disk) {
            Ok(store) => {
                let found = indexes(&store);
                // An empty file is a new one; the closing note tells that it was not.
                let whole: Vec<u64> = if end == 0 { vec![] } else { (4..24).collect() };
                assert_eq!(found, whole, "cut at {end}");
            }
            Err(OpenError::Damaged(reason)) => {
                assert!(!reason.is_empty());
                damaged += 1;
            }
            Err(OpenError::Spool(error)) => panic!("cut at {end}: {error}"),
        }
    }
    println!("{damaged} of {cuts} files said to be damaged");
    assert!(damaged > 0);
}
