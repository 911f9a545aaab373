//! The identities of spooled events, in a file of the spool's folder: a repeat is recognised after a restart, also if its event
//! has left the spool by then.
//!
//! The file is a ring of slots; the record with number `n` is in slot `n % slots`, so that the file is bounded. A record has a
//! checksum: a slot that was never written, or was cut off by the end of the process, counts as empty. Appended records are not synced.
//! The end of the process loses nothing; a power cut may lose the last seconds, which the stream's duplicate window covers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jetsink::{OfflineSpool, private_file};
use sha2::{Digest as _, Sha256};

use super::{Digest, Key};

/// The name of the file in the spool's folder, without its extension.
const NAME: &str = "identities";

/// The name of a file that is about to replace it.
const NEW_NAME: &str = "identities-new";

/// Distinguishes this format from a later one.
const FORMAT: &[u8] = b"jetsink identity 1";

/// Bytes of a record: number, time, key, content, checksum.
const RECORD: usize = 56;
const CHECKSUM: usize = 48;

/// Records that are read at a time.
const CHUNK: usize = 1_024;

/// The identity of a spooled event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) key: Key,
    pub(crate) digest: Digest,
    /// The time since it was spooled.
    pub(crate) age: Duration,
}

/// The file. It is opened by the first call, on the caller's thread; all calls block.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    folder: PathBuf,
    slots: u64,
    window: Duration,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    next_number: u64,
}

/// A record as it is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    number: u64,
    /// Milliseconds since the Unix epoch.
    time: u64,
    key: Key,
    digest: Digest,
}

impl IdentityFile {
    /// The file in this folder, with at most `max` identities, each for `window`.
    pub(crate) fn new(folder: &Path, max: usize, window: Duration) -> Self {
        Self {
            folder: folder.to_owned(),
            slots: max.max(1) as u64,
            window,
            open: Mutex::default(),
        }
    }

    /// The identities within the window, the oldest first.
    pub(crate) fn read(&self, now: SystemTime) -> io::Result<Vec<Kept>> {
        let mut open = self.lock();
        // Read once: the thread that writes the spool waits meanwhile.
        let found = match &*open {
            Some(open) => Slots::read(&open.file)?,
            None => {
                let (opened, found) = self.open(now)?;
                *open = Some(opened);
                found
            }
        };
        drop(open);
        let fresh = self.fresh(&found, now);
        let kept = |record: Record| Kept {
            key: record.key,
            digest: record.digest,
            age: Duration::from_millis(millis(now).saturating_sub(record.time)),
        };
        Ok(fresh.into_iter().map(kept).collect())
    }

    /// Adds identities, in the place of the oldest ones if the file is full.
    pub(crate) fn append(&self, identities: &[(Key, Digest)], now: SystemTime) -> io::Result<()> {
        let mut open = self.lock();
        let open = match &mut *open {
            Some(open) => open,
            none => none.insert(self.open(now)?.0),
        };
        let time = millis(now);
        // More than the file has would only overwrite each other.
        let skipped = identities.len().saturating_sub(self.slots as usize);
        let mut records = identities[skipped..].iter().peekable();
        while records.peek().is_some() {
            let slot = open.next_number % self.slots;
            let room = (self.slots - slot) as usize;
            let mut bytes = Vec::with_capacity(RECORD * identities.len().min(room));
            for (number, (key, digest)) in (open.next_number..).zip(records.by_ref().take(room)) {
                let record = Record {
                    number,
                    time,
                    key: *key,
                    digest: *digest,
                };
                record.encode(&mut bytes);
            }
            open.file.write_all_at(&bytes, slot * RECORD as u64)?;
            open.next_number += (bytes.len() / RECORD) as u64;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file, and returns its records, which may be in other slots than they were found in.
    fn open(&self, now: SystemTime) -> io::Result<(Open, Slots)> {
        let path = companion(&self.folder, NAME);
        let file = private_file::options()
            .create(true)
            .truncate(false)
            .open(&path)?;
        private_file::set_mode(&file)?;
        let found = Slots::read(&file)?;
        let next_number = found.records.last().map_or(0, |last| last.number + 1);
        if found.is_ring_of(self.slots) {
            return Ok((Open { file, next_number }, found));
        }
        // The number of slots was changed, or the file is damaged.
        let fresh = self.fresh(&found, now);
        let new_path = companion(&self.folder, NEW_NAME);
        match std::fs::remove_file(&new_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let file = private_file::options().create_new(true).open(&new_path)?;
        private_file::set_mode(&file)?;
        for record in fresh {
            let mut bytes = Vec::with_capacity(RECORD);
            record.encode(&mut bytes);
            let slot = record.number % self.slots;
            file.write_all_at(&bytes, slot * RECORD as u64)?;
        }
        // Otherwise a power cut may leave an empty file in the place of the old one.
        file.sync_all()?;
        std::fs::rename(&new_path, &path)?;
        Ok((Open { file, next_number }, found))
    }

    /// The newest records within the window, as many as there are slots.
    fn fresh(&self, found: &Slots, now: SystemTime) -> Vec<Record> {
        let earliest = millis(now).saturating_sub(millis(UNIX_EPOCH + self.window));
        let skipped = found.records.len().saturating_sub(self.slots as usize);
        let fresh = found.records[skipped..].iter();
        fresh
            .filter(|record| record.time > earliest)
            .copied()
            .collect()
    }
}

/// The path of a file that the spool removes from its folder when an operator deletes events.
fn companion(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    path.with_extension(OfflineSpool::COMPANION_EXTENSION)
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The records of a file.
#[derive(Debug, Default)]
struct Slots {
    /// By number.
    records: Vec<Record>,
    /// The slot of each.
    slots: Vec<u64>,
    count: u64,
}

impl Slots {
    fn read(file: &File) -> io::Result<Self> {
        let mut found: Vec<(Record, u64)> = Vec::new();
        let mut bytes = vec![0; CHUNK * RECORD];
        let mut count = 0;
        loop {
            let length = read_at(file, &mut bytes, count * RECORD as u64)?;
            for record in bytes[..length].chunks(RECORD) {
                found.extend(Record::decode(record).map(|record| (record, count)));
                count += 1;
            }
            if length < bytes.len() {
                break;
            }
        }
        found.sort_unstable_by_key(|(record, _)| record.number);
        let (records, slots) = found.into_iter().unzip();
        Ok(Self {
            records,
            slots,
            count,
        })
    }

    /// Whether the file has this number of slots, and each record is in its own.
    fn is_ring_of(&self, slots: u64) -> bool {
        let mut placed = self.records.iter().zip(&self.slots);
        self.count <= slots && placed.all(|(record, slot)| record.number % slots == *slot)
    }
}

/// Reads until `bytes` is full or the file ends.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

impl Record {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.time.to_le_bytes());
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        let checksum = checksum(&bytes[start..]);
        bytes.extend_from_slice(&checksum);
    }

    /// `None` for a slot without a whole record.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, sum) = bytes.split_at_checked(CHECKSUM)?;
        if checksum(fields) != *sum {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(fields.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            number: number(0)?,
            time: number(8)?,
            key: fields.get(16..40)?.try_into().ok()?,
            digest: number(40)?,
        })
    }
}

fn checksum(fields: &[u8]) -> [u8; RECORD - CHECKSUM] {
    let hash = Sha256::new().chain_update(FORMAT).chain_update(fields);
    let mut sum = [0; RECORD - CHECKSUM];
    sum.copy_from_slice(&hash.finalize()[..RECORD - CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const WINDOW: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn identity(number: u64) -> (Key, Digest) {
        ([number as u8; 24], number)
    }

    fn open(folder: &Path, max: usize) -> IdentityFile {
        IdentityFile::new(folder, max, WINDOW)
    }

    fn digests(file: &IdentityFile, now: SystemTime) -> Vec<Digest> {
        let kept = file.read(now).unwrap();
        kept.iter().map(|kept| kept.digest).collect()
    }

    #[test]
    fn identities_are_read_again_with_their_age_until_the_window_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), 10);
        file.append(&[identity(1), identity(2)], at(0)).unwrap();
        file.append(&[identity(3)], at(100)).unwrap();
        let again = open(folder.path(), 10);
        let kept = again.read(at(130)).unwrap();
        let (key, digest) = identity(1);
        let age = Duration::from_secs(130);
        assert_eq!(kept[0], Kept { key, digest, age });
        assert_eq!(kept[2].age, Duration::from_secs(30));
        assert_eq!(digests(&again, at(600)), [3]);
        assert_eq!(digests(&again, at(50)), [1, 2, 3], "the clock was set back");
        let mode = std::fs::metadata(companion(folder.path(), NAME)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn file_is_a_ring_that_a_restart_continues() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        let mut number = 0;
        for appended in [1, 3, 7, 2, 0, 20, 5, 8, 1] {
            let file = open(folder.path(), 8);
            let batch: Vec<_> = (number..number + appended).map(identity).collect();
            file.append(&batch, at(0)).unwrap();
            number += appended;
            expected.extend(batch.iter().map(|(_, digest)| *digest));
            expected.drain(..expected.len().saturating_sub(8));
            assert_eq!(digests(&file, at(0)), expected);
            assert_eq!(digests(&open(folder.path(), 8), at(0)), expected);
            let length = std::fs::metadata(companion(folder.path(), NAME))
                .unwrap()
                .len();
            assert!(length <= 8 * RECORD as u64, "{length}");
        }
    }

    #[test]
    fn other_number_of_slots_keeps_the_newest_identities() {
        let folder = tempfile::tempdir().unwrap();
        let batch: Vec<_> = (0..13).map(identity).collect();
        open(folder.path(), 10).append(&batch, at(0)).unwrap();
        assert_eq!(digests(&open(folder.path(), 4), at(0)), [9, 10, 11, 12]);
        let larger = open(folder.path(), 6);
        assert_eq!(digests(&larger, at(0)), [9, 10, 11, 12]);
        larger.append(&[identity(13)], at(0)).unwrap();
        assert_eq!(digests(&larger, at(0)), [9, 10, 11, 12, 13]);
        assert!(!companion(folder.path(), NEW_NAME).exists());
    }

    // A reviewer's finding: the gateway wrote to the files that links in the spool's folder led to.
    #[test]
    fn links_are_not_followed_and_the_mode_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(other.path(), "precious").unwrap();
        let path = companion(folder.path(), NAME);
        symlink(other.path(), &path).unwrap();
        let file = open(folder.path(), 4);
        file.append(&[identity(1)], at(0)).unwrap_err();
        file.read(at(0)).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        file.append(&[identity(1)], at(0)).unwrap();
        let wide = Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, wide).unwrap();
        // Another number of slots, so that the file is replaced.
        symlink(other.path(), companion(folder.path(), NEW_NAME)).unwrap();
        let batch = [2, 3, 4, 5, 6].map(identity);
        open(folder.path(), 4).append(&batch, at(0)).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(digests(&open(folder.path(), 3), at(0)), [4, 5, 6]);
        assert_eq!(std::fs::read(other.path()).unwrap(), b"precious");
        assert!(path.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn damaged_and_half_written_records_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let batch: Vec<_> = (0..5).map(identity).collect();
        open(folder.path(), 8).append(&batch, at(0)).unwrap();
        let path = companion(folder.path(), NAME);
        let whole = std::fs::read(&path).unwrap();
        for at_byte in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at_byte] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let mut expected = vec![0, 1, 2, 3, 4];
            expected.remove(at_byte / RECORD);
            assert_eq!(digests(&open(folder.path(), 8), at(0)), expected);
            std::fs::write(&path, &whole[..at_byte]).unwrap();
            let file = open(folder.path(), 8);
            let left = (at_byte / RECORD) as u64;
            assert_eq!(digests(&file, at(0)), (0..left).collect::<Vec<_>>());
            file.append(&[identity(9)], at(0)).unwrap();
            assert_eq!(digests(&open(folder.path(), 8), at(0)).last(), Some(&9));
        }
        for length in 0..whole.len() as u64 {
            std::fs::write(&path, vec![0; length as usize]).unwrap();
            assert!(digests(&open(folder.path(), 8), at(0)).is_empty());
        }
    }
}
