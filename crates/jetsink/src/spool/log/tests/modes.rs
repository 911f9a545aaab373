//! The modes of the files under any umask.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use super::model::ACCESS;
use crate::spool::log::event::NewRecord;
use crate::spool::log::folder::Folder;
use crate::spool::log::opening;
use crate::spool::log::tests::Removed;
use crate::spool::record::Record;
use crate::spool::tests::{envelope, subject};
use crate::sync::lock;

/// The owner of a folder that is not root's.
const OWNER: (u32, u32) = (65_534, 65_533);

/// Marks a child; its value is the folder to fill.
const CHILD: &str = "JETSINK_MODES_CHILD";

/// In a process of its own: a process has one umask.
#[test]
fn files_and_folder_are_their_owners_after_a_rewrite_whatever_the_umask() {
    for umask in ["0777", "0000"] {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("above/spool");
        let test = "spool::log::tests::modes::the_child_rewrites_a_segment";
        let child = std::process::Command::new("sh")
            .args(["-c", "umask \"$1\"; exec \"$0\" --exact \"$2\" --nocapture"])
            .arg(std::env::current_exe().unwrap())
            .args([umask, test])
            .env(CHILD, &folder)
            .status()
            .unwrap();
        assert!(child.success(), "{child}; its message is above");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode(&folder), mode(folder.parent().unwrap())],
            [0o700, 0o700]
        );
        let files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(files.len() > 3, "lock, seal, reserve, segments: {files:?}");
        for file in files {
            assert_eq!(mode(&file.path()), 0o600, "umask {umask}: {file:?}");
        }
    }
}

/// Does nothing unless the test above starts it.
#[test]
fn the_child_rewrites_a_segment() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let disk = Folder::open(Path::new(&folder), true).unwrap();
    let (mut log, mut backlog) = opening::open(disk, ACCESS).unwrap();
    backlog.scan();
    let mut removed = Vec::new();
    for index in 0..300 {
        let record = Record {
            index,
            spooled_at: 1,
            may_be_stored: false,
            envelope: envelope("a", 7),
        };
        let event = NewRecord::event(&record, None);
        log.append_reserved(&[&event]).unwrap();
        if !index.is_multiple_of(20) {
            removed.push(Removed {
                subject: Some(subject("a")),
                index,
                bytes: event.head.size(),
            });
        }
    }
    log.deliver(&removed).unwrap();
    log.rewrite(|_| true);
    assert!(lock(&log.index).replacements > 0);
    log.seal().unwrap();
}

/// Returns `None` without root's rights: only root can change the owner of a folder. `.ci/run` runs as root, so there the
/// tests must be able to run.
fn folder_of_another_user() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    if std::fs::metadata(folder.path()).unwrap().uid() != 0 {
        eprintln!("skipped: only root can change the owner of a folder");
        return None;
    }
    chown(folder.path(), Some(OWNER.0), Some(OWNER.1)).unwrap();
    Some(folder)
}

/// The service could not open its spool after an operator's command that made a segment.
#[test]
fn files_that_root_makes_belong_to_the_owner_of_the_folder() {
    let Some(folder) = folder_of_another_user() else {
        return;
    };
    let disk = Folder::open(folder.path(), false).unwrap();
    drop(disk.create("new").unwrap());
    for file in ["lock", "new"] {
        let made = std::fs::metadata(folder.path().join(file)).unwrap();
        assert_eq!((made.uid(), made.gid()), OWNER, "{file}");
    }
}

/// The owner of the folder could make any file of root its own.
#[test]
fn file_of_root_that_is_linked_as_the_lock_keeps_its_owner_and_mode() {
    let Some(folder) = folder_of_another_user() else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    std::fs::write(&target, "root's").unwrap();
    std::fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    let linked = folder.path().join("lock");
    std::fs::hard_link(&target, &linked).unwrap();
    let about = || {
        let about = std::fs::metadata(&target).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o777)
    };
    let before = about();
    drop(Folder::open(folder.path(), false).unwrap());
    assert_eq!(about(), before);
    assert_eq!(std::fs::read(&target).unwrap(), b"root's");
    // The other name may be gone by the time of a check: one name is no proof.
    std::fs::remove_file(&target).unwrap();
    drop(Folder::open(folder.path(), false).unwrap());
    assert_eq!(std::fs::metadata(&linked).unwrap().uid(), before.0);
}

#[test]
fn lock_of_the_owner_of_the_folder_gets_its_mode_back() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    std::fs::write(&lock, "").unwrap();
    std::fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    drop(Folder::open(folder.path(), false).unwrap());
    assert_eq!(std::fs::metadata(&lock).unwrap().mode() & 0o777, 0o600);
}

/// As in a container whose root has no capabilities, and may write to the folder by its group.
#[cfg(target_os = "linux")]
#[test]
fn root_that_may_not_change_owners_opens_and_fills_a_folder_of_another_user() {
    use rustix::thread::{capabilities, set_capabilities};
    const CAP_CHOWN: u64 = 1 << 0;
    let Some(folder) = folder_of_another_user() else {
        return;
    };
    // Those of this thread, which is the test's own.
    let mut sets = capabilities(None).unwrap();
    let others = sets.effective.iter();
    sets.effective = others.filter(|one| one.bits() != CAP_CHOWN).collect();
    set_capabilities(None, sets).unwrap();
    let disk = Folder::open(folder.path(), false).unwrap();
    disk.create("new").unwrap();
    for file in ["lock", "new"] {
        let made = std::fs::metadata(folder.path().join(file)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (0, 0o600), "{file}");
    }
}

/// `rm -rf` of the folder under a running process: each event counted as durable, and was gone at its end.
#[test]
fn sync_of_a_removed_file_fails() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path(), false).unwrap();
    let file = disk.create("a").unwrap();
    file.sync().unwrap();
    disk.rename("a", "b").unwrap();
    file.sync().unwrap();
    disk.remove("b").unwrap();
    assert!(file.sync().is_err());
}

/// The last part of a group is often empty, and alone in its call if there are many parts.
#[test]
fn empty_parts_are_written() {
    use std::io::IoSlice;
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path(), false).unwrap();
    let file = disk.create("a").unwrap();
    file.write_at(0, &mut [IoSlice::new(b"")]).unwrap();
    let mut parts = [b"".as_slice(), b"a", b"", b"b", b""].map(IoSlice::new);
    file.write_at(0, &mut parts).unwrap();
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"ab");
}

/// The system takes 1,024 parts in one call.
#[test]
fn more_parts_than_one_call_takes_are_written() {
    use std::io::IoSlice;
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path(), false).unwrap();
    let file = disk.create("a").unwrap();
    let mut parts = [IoSlice::new(b"ab"); 3_000];
    parts[2_999] = IoSlice::new(b"");
    file.write_at(0, &mut parts).unwrap();
    let written = std::fs::read(folder.path().join("a")).unwrap();
    assert_eq!(written, b"ab".repeat(2_999));
}
