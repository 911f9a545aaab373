use std::io::Write as _;

use super::*;
use crate::publish::input::follow::generation::{Loss, file_name};
use crate::publish::input::follow::history::History;

fn logs(folder: &Path) -> (Folder, Arc<Track>) {
    let path: Arc<Path> = folder.join("ev.jsonl").into();
    let track = Track::new(0, 1, None, History::new(path, Time::ZERO, || "name".into()));
    let track = Arc::new(track);
    let mut logs = Folder::new(folder.to_owned());
    logs.add(Arc::clone(&track), true);
    (logs, track)
}

fn scan_once(folder: &mut Folder, seconds: u64) -> Scanned {
    scan(folder, Time::from_secs(seconds), |_, _| None).unwrap()
}

/// The names under which the open generations were found.
fn names(track: &Track) -> Vec<String> {
    let history = track.history();
    let names = history.generations.iter();
    names
        .map(|g| file_name(&g.path).to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_scan_opens_new_files_once_and_remembers_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ev.jsonl.1"), "old\n").unwrap();
    fs::write(path("other.jsonl"), "other\n").unwrap();
    fs::create_dir(path("ev.jsonl.2")).unwrap();
    fs::write(path("ev.jsonl"), "a\n").unwrap();
    let (mut logs, track) = logs(folder.path());
    for second in 0..3 {
        assert_eq!(scan_once(&mut logs, second), Scanned::default());
    }
    assert_eq!(names(&track), ["ev.jsonl"]);
    fs::rename(path("ev.jsonl"), path("ev.jsonl.3")).unwrap();
    fs::write(path("ev.jsonl"), "b\n").unwrap();
    scan_once(&mut logs, 4);
    assert_eq!(names(&track), ["ev.jsonl", "ev.jsonl"]);
}

#[test]
fn compressed_copy_is_read_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ev.jsonl"), "a\n").unwrap();
    let (mut logs, track) = logs(folder.path());
    scan_once(&mut logs, 0);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"missed\n").unwrap();
    fs::write(path("ev.jsonl.1.gz"), encoder.finish().unwrap()).unwrap();
    assert!(scan_once(&mut logs, 1).is_incomplete);
    let settled = std::time::SystemTime::now() - Duration::from_secs(5);
    let file = File::options().write(true).open(path("ev.jsonl.1.gz"));
    file.unwrap().set_modified(settled).unwrap();
    assert!(!scan_once(&mut logs, 2).is_incomplete);
    assert_eq!(names(&track), ["ev.jsonl.1.gz", "ev.jsonl"]);
}

#[test]
fn compression_without_its_first_bytes_is_not_read_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (mut logs, track) = logs(folder.path());
    scan_once(&mut logs, 0);
    // A file that was announced and is not open yet: without it, any empty file is waited for.
    track.history().unopened += 1;
    for start in [&b""[..], b"\x1f"] {
        fs::write(path("ev.jsonl.1.gz"), start).unwrap();
        assert!(scan_once(&mut logs, 1).is_incomplete);
        assert_eq!(names(&track), Vec::<String>::new());
    }
    let file = File::options().write(true).open(path("ev.jsonl.1.gz"));
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    file.unwrap().set_modified(long_ago).unwrap();
    assert!(!scan_once(&mut logs, 2).is_incomplete, "a leftover");
    assert_eq!(names(&track), Vec::<String>::new());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"late\n").unwrap();
    fs::write(path("ev.jsonl.1.gz"), encoder.finish().unwrap()).unwrap();
    let file = File::options().write(true).open(path("ev.jsonl.1.gz"));
    file.unwrap().set_modified(long_ago).unwrap();
    scan_once(&mut logs, 3);
    assert_eq!(names(&track), ["ev.jsonl.1.gz"]);
}

#[test]
fn a_file_without_permission_is_reported_and_tried_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    fs::write(&path, "a\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    let (mut logs, track) = logs(folder.path());
    if File::open(&path).is_ok() {
        return; // root may open everything
    }
    let scanned = scan_once(&mut logs, 0);
    assert_eq!(*scanned.unopened[0].0, *path);
    assert_eq!(logs.losses().len(), 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(scan_once(&mut logs, 1), Scanned::default());
    assert_eq!(names(&track), ["ev.jsonl"]);
    assert!(logs.losses().is_empty());
}

#[test]
fn growth_and_truncation_are_observed_without_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    fs::write(&path, "a\n").unwrap();
    let (mut logs, track) = logs(folder.path());
    scan_once(&mut logs, 0);
    fs::write(&path, "a\nb\n").unwrap();
    observe(&track, Time::from_secs(1));
    assert_eq!(track.history().generations[0].length, 4);
    fs::write(&path, "c\n").unwrap();
    observe(&track, Time::from_secs(2));
    assert_eq!(track.history().generations.len(), 2);
    assert_eq!(track.history().losses, Vec::<Loss>::new());
}

#[test]
fn a_start_at_the_end_is_behind_the_last_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    fs::write(&path, "a\nb\nhalf").unwrap();
    let (mut logs, track) = logs(folder.path());
    scan_once(&mut logs, 0);
    skip_lines(&mut track.history()).unwrap();
    let history = track.history();
    let first = &history.generations[0];
    assert_eq!((first.offset, first.line), (4, 2));
}

#[test]
fn file_that_can_not_be_opened_is_a_loss_until_it_is_opened_and_if_it_disappears() {
    use std::os::unix::fs::symlink;
    // Root can't open this one either.
    let denied = "/proc/sys/vm/compact_memory";
    if fs::metadata(denied).is_err() {
        return; // no Linux
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    symlink(denied, path("ev.jsonl")).unwrap();
    let (mut logs, track) = logs(folder.path());
    scan_once(&mut logs, 0);
    assert_eq!(logs.losses().len(), 1);
    // Rotated: it is the same file.
    fs::rename(path("ev.jsonl"), path("ev.jsonl.1")).unwrap();
    fs::write(path("ev.jsonl"), "a\n").unwrap();
    scan_once(&mut logs, 1);
    assert_eq!(file_name(&logs.losses()[0].path), "ev.jsonl.1");
    // No notification has announced it, so nothing else reports it.
    fs::remove_file(path("ev.jsonl.1")).unwrap();
    scan_once(&mut logs, 2);
    assert!(logs.losses().is_empty());
    assert_eq!(track.history().losses.len(), 1);
    // A path that leads nowhere has no identity, and is looked at each time.
    fs::remove_file(path("ev.jsonl")).unwrap();
    symlink("ev.jsonl", path("ev.jsonl")).unwrap();
    scan_once(&mut logs, 3);
    assert_eq!(logs.losses().len(), 1);
    fs::remove_file(path("ev.jsonl")).unwrap();
    fs::write(path("ev.jsonl"), "b\n").unwrap();
    assert_eq!(scan_once(&mut logs, 4), Scanned::default());
    assert!(logs.losses().is_empty());
}
