//! The state of a file, to notice that it has changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The state of a file behind all links. It is taken before the file is read, so that a change during the read is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Also changes if a tool sets the time of modification back, as `cp -p` does.
    changed: (i64, i64),
}

impl FileState {
    /// `None` without the file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime};

    #[test]
    fn content_of_the_same_length_and_time_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(FileState::of(&path), None);
        let time = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_times(time)
                .unwrap();
            FileState::of(&path)
        };
        let first = write("one");
        assert_eq!(first, FileState::of(&path));
        // The clock of a file system may tick in steps of some milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        assert_ne!(first, write("two"));
    }
}
