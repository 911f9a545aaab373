use std::io::Write as _;

use super::*;
use crate::publish::input::follow::generation::{Generation, Loss, Source, file_name};
use crate::publish::input::follow::history::History;
use crate::publish::input::follow::identity::Head;

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
    assert!(scan_once(&mut logs, 1).is_due);
    let settled = std::time::SystemTime::now() - Duration::from_secs(5);
    let file = File::options().write(true).open(path("ev.jsonl.1.gz"));
    file.unwrap().set_modified(settled).unwrap();
    assert!(!scan_once(&mut logs, 2).is_due);
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
        assert!(scan_once(&mut logs, 1).is_due);
        assert_eq!(names(&track), Vec::<String>::new());
    }
    let file = File::options().write(true).open(path("ev.jsonl.1.gz"));
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    file.unwrap().set_modified(long_ago).unwrap();
    assert!(!scan_once(&mut logs, 2).is_due, "a leftover");
    assert_eq!(names(&track), Vec::<String>::new());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"late\n").unwrap();
    fs::write(path("ev.jsonl.1.gz"), encoder.finish().unwrap()).unwrap();
    let file = File::options().write(true).open(path("ev.jsonl.1.gz"));
    file.unwrap().set_modified(long_ago).unwrap();
    scan_once(&mut logs, 3);
    assert_eq!(names(&track), ["ev.jsonl.1.gz"]);
}

/// Takes root's right to open every file from this thread, which is the test's own.
fn obey_modes() {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).unwrap();
        let any_file = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        sets.effective.remove(any_file);
        set_capabilities(None, sets).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A generation that an earlier run has read up to an offset.
fn read_before(track: &Track, path: &Path, offset: u64) {
    let mut history = track.history();
    let (number, id) = (
        history.next_number(),
        FileId::of(&fs::metadata(path).unwrap()),
    );
    let name = (history.new_name)();
    let mut generation = Generation::new(number, name, Arc::clone(&history.path), id);
    generation.source = Source::Sought;
    generation.head = Head::Bytes(fs::read(path).unwrap()[..offset as usize].to_vec());
    (generation.offset, generation.length) = (offset, offset);
    history.is_restored = true;
    history.generations.push_back(generation);
}

#[test]
fn a_file_without_permission_is_reported_and_tried_again() {
    obey_modes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    fs::write(&path, "a\n").unwrap();
    set_mode(&path, 0o0);
    let (mut logs, track) = logs(folder.path());
    let scanned = scan_once(&mut logs, 0);
    assert_eq!(*scanned.unopened[0].0, *path);
    assert!(!scanned.is_due, "the regular scans are enough");
    assert_eq!(logs.losses().len(), 1);
    set_mode(&path, 0o600);
    assert_eq!(scan_once(&mut logs, 1), Scanned::default());
    assert_eq!(names(&track), ["ev.jsonl"]);
    assert!(logs.losses().is_empty());
}

#[test]
fn file_of_a_folder_that_could_never_be_opened_is_lost_when_it_disappears() {
    obey_modes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    let mut logs = Folder::new(folder.path().to_owned());
    let pattern = glob::Pattern::new("*").unwrap();
    logs.want(super::super::folder::Wanted { index: 0, pattern });
    let mut scan_at = |second| {
        scan(&mut logs, Time::from_secs(second), |_, path| {
            let history = History::new(path, Time::ZERO, || "name".into());
            Some(Arc::new(Track::new(0, 1, None, history)))
        })
        .unwrap()
    };
    scan_at(0);
    fs::write(&path, "a\n").unwrap();
    set_mode(&path, 0o0);
    assert!(scan_at(1).lost.is_empty());
    fs::remove_file(&path).unwrap();
    let lost = scan_at(2).lost;
    assert_eq!(lost.len(), 1);
    assert_eq!(*lost[0].path, *path);
    assert!(scan_at(3).lost.is_empty(), "once");
}

#[test]
fn file_without_an_identity_is_lost_when_it_disappears() {
    obey_modes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    let (mut logs, _) = logs(folder.path());
    scan_once(&mut logs, 0);
    fs::write(&path, "a\n").unwrap();
    // Its names can be listed, and no file in it can be looked at.
    set_mode(folder.path(), 0o600);
    let scanned = scan_once(&mut logs, 1);
    assert_eq!((scanned.unopened.len(), scanned.is_due), (1, false));
    set_mode(folder.path(), 0o700);
    fs::remove_file(&path).unwrap();
    assert_eq!(scan_once(&mut logs, 2).lost.len(), 1);
}

#[test]
fn announced_file_that_can_not_be_opened_is_lost_once() {
    obey_modes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    let (mut logs, track) = logs(folder.path());
    scan_once(&mut logs, 0);
    for second in [1, 4] {
        fs::write(&path, "a\n").unwrap();
        set_mode(&path, 0o0);
        track.history().created();
        scan_once(&mut logs, second);
        track.history().is_quiet();
        assert_eq!(track.history().losses, [], "it is still here");
        fs::remove_file(&path).unwrap();
        assert_eq!(scan_once(&mut logs, second + 1).lost.len(), 1);
        track.history().is_quiet();
        assert_eq!(track.history().losses, [], "its folder has reported it");
    }
    // One that can be opened later is no loss, and the next missed one is.
    fs::write(&path, "a\n").unwrap();
    set_mode(&path, 0o0);
    track.history().created();
    scan_once(&mut logs, 7);
    set_mode(&path, 0o600);
    assert!(scan_once(&mut logs, 8).lost.is_empty());
    assert_eq!(track.history().unopened, 0);
}

#[test]
fn file_of_an_earlier_run_that_can_not_be_opened_is_one_loss_until_it_can_be() {
    obey_modes();
    for name in ["ev.jsonl", "ev.jsonl.1"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, "a\nb\n").unwrap();
        let (mut logs, track) = logs(folder.path());
        read_before(&track, &path, 2);
        set_mode(&path, 0o0);
        for second in 0..2 {
            scan_once(&mut logs, second);
            assert_eq!(logs.losses().len(), 1, "{name}");
            assert_eq!(track.history().losses, [], "{name} is here");
        }
        set_mode(&path, 0o600);
        assert_eq!(scan_once(&mut logs, 2), Scanned::default());
        assert!(logs.losses().is_empty(), "{name}");
        let mut history = track.history();
        history.is_ready = true;
        let reading = history.next(Time::from_secs(3)).unwrap();
        assert_eq!((&*reading.path, reading.offset), (&*path, 2));
    }
}

#[test]
fn file_of_an_earlier_run_that_was_read_to_its_end_is_no_loss_if_it_can_not_be_opened() {
    obey_modes();
    for name in ["ev.jsonl", "ev.jsonl.1"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, "a\n").unwrap();
        let (mut logs, track) = logs(folder.path());
        read_before(&track, &path, 2);
        set_mode(&path, 0o0);
        scan_once(&mut logs, 0);
        assert!(logs.losses().is_empty(), "{name}");
        set_mode(&path, 0o600);
        fs::write(&path, "a\nb\n").unwrap();
        set_mode(&path, 0o0);
        scan_once(&mut logs, 1);
        assert_eq!(logs.losses().len(), 1, "{name} has grown");
        fs::remove_file(&path).unwrap();
        assert_eq!(scan_once(&mut logs, 2).lost.len(), 1, "{name}");
        assert_eq!(track.history().losses, [], "{name}");
    }
}

#[test]
fn file_is_tried_again_at_once_if_only_descriptors_were_missing() {
    use rustix::io::Errno;
    for (errno, expected) in [
        (Errno::MFILE, true),
        (Errno::NFILE, true),
        (Errno::ACCESS, false),
    ] {
        assert_eq!(is_out_of_descriptors(&errno.into()), expected, "{errno}");
    }
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
    fs::remove_file(path("ev.jsonl.1")).unwrap();
    assert_eq!(scan_once(&mut logs, 2).lost.len(), 1);
    assert!(logs.losses().is_empty());
    assert_eq!(track.history().losses, []);
    // A path that leads nowhere has no identity, and is looked at each time.
    fs::remove_file(path("ev.jsonl")).unwrap();
    symlink("ev.jsonl", path("ev.jsonl")).unwrap();
    scan_once(&mut logs, 3);
    assert_eq!(logs.losses().len(), 1);
    fs::remove_file(path("ev.jsonl")).unwrap();
    fs::write(path("ev.jsonl"), "b\n").unwrap();
    assert_eq!(scan_once(&mut logs, 4), Scanned::default());
    assert!(logs.losses().is_empty());
    // Nor has it a line that could be lost.
    fs::remove_file(path("ev.jsonl")).unwrap();
    symlink("ev.jsonl", path("ev.jsonl")).unwrap();
    let scanned = scan_once(&mut logs, 5);
    assert_eq!((scanned.unopened.len(), scanned.is_due), (1, false));
    fs::remove_file(path("ev.jsonl")).unwrap();
    assert_eq!(scan_once(&mut logs, 6), Scanned::default());
}

#[test]
fn file_that_could_not_be_opened_stays_listed_until_it_is_complete_or_turns_out_to_be_a_leftover() {
    obey_modes();
    let folder = tempfile::tempdir().unwrap();
    let mut logs = Folder::new(folder.path().to_owned());
    let pattern = glob::Pattern::new("*").unwrap();
    logs.want(super::super::folder::Wanted { index: 0, pattern });
    let mut scan_at = |second| {
        let scanned = scan(&mut logs, Time::from_secs(second), |_, path| {
            let history = History::new(path, Time::ZERO, || "name".into());
            Some(Arc::new(Track::new(0, 1, None, history)))
        });
        scanned.unwrap();
        logs.losses().len()
    };
    let path = folder.path().join("ev.jsonl.gz");
    fs::write(&path, "").unwrap();
    set_mode(&path, 0o0);
    assert_eq!(scan_at(0), 1);
    set_mode(&path, 0o600);
    assert_eq!(scan_at(1), 1, "it is still being compressed");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(long_ago).unwrap();
    assert_eq!(scan_at(2), 0, "a leftover");
}

#[test]
fn file_that_can_not_be_opened_is_a_loss_if_another_one_replaces_it_during_a_scan() {
    obey_modes();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut logs = Folder::new(folder.path().to_owned());
    let pattern = glob::Pattern::new("*.jsonl").unwrap();
    logs.want(super::super::folder::Wanted { index: 0, pattern });
    let track = |path| {
        let history = History::new(path, Time::ZERO, || "name".into());
        Some(Arc::new(Track::new(0, 1, None, history)))
    };
    fs::write(path("ev.jsonl"), "denied\n").unwrap();
    set_mode(&path("ev.jsonl"), 0o0);
    scan(&mut logs, Time::ZERO, |_, path| track(path)).unwrap();
    assert_eq!(logs.losses().len(), 1);
    // Its log is made when the other files have been looked at, and none was opened.
    fs::write(path("another.jsonl"), "a\n").unwrap();
    fs::write(path("new"), "b\n").unwrap();
    let during = scan(&mut logs, Time::from_secs(1), |_, of| {
        fs::rename(path("new"), path("ev.jsonl")).unwrap();
        track(of)
    });
    let after = scan(&mut logs, Time::from_secs(2), |_, path| track(path));
    let lost = [during.unwrap().lost, after.unwrap().lost].concat();
    let lost: Vec<_> = lost.iter().map(|loss| file_name(&loss.path)).collect();
    assert_eq!(lost, ["ev.jsonl"]);
    assert!(logs.losses().is_empty());
}
