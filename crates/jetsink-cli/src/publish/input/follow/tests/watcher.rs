use std::fs::File;

use super::super::generation::LossReason;
use super::super::history::History;
use super::super::track::Track;
use super::*;

/// A watcher of `ev.jsonl` that does not run, its notices, and the channel that ends it.
fn watcher(
    folder: &Path,
) -> (
    Watcher,
    mpsc::UnboundedReceiver<Notice>,
    mpsc::Receiver<Batch>,
) {
    let path: Arc<Path> = folder.join("ev.jsonl").into();
    let history = History::new(path, Time::ZERO, || "name".into());
    let track = Arc::new(Track::new(0, 1, None, history));
    let (tracks, mut logs) = (Tracks::default(), Folder::new(folder.to_owned()));
    tracks.add(Arc::clone(&track));
    logs.add(track, true);
    let settings = TrackSettings {
        position: None,
        rotate_wait: Duration::ZERO,
        start_at_end: false,
        from_line: 1,
    };
    let (notices, received) = mpsc::unbounded_channel();
    let (batches, reader) = mpsc::channel(1);
    let (folders, clock) = (vec![logs], Clock::start());
    let watcher = Watcher::new(
        folders,
        Vec::new(),
        tracks,
        settings,
        notices,
        batches,
        clock,
    );
    (watcher, received, reader)
}

/// One turn of the watcher.
fn turn(watcher: &mut Watcher) {
    watcher.scan_folder(0);
    let changes = watcher.watch.wait(Duration::ZERO);
    watcher.apply(&changes);
}

/// The watcher ends: the files that were missed, by loss.
fn missed(watcher: Watcher, mut notices: mpsc::UnboundedReceiver<Notice>) -> Vec<u64> {
    watcher.run();
    let mut missed = Vec::new();
    while let Ok(notice) = notices.try_recv() {
        if let Notice::Loss(loss) = notice {
            assert_eq!(loss.reason, LossReason::Missed);
            missed.push(loss.files);
        }
    }
    missed
}

#[test]
fn file_that_was_removed_unread_just_before_the_end_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    let (mut watcher, notices, batches) = watcher(folder.path());
    watcher.find_folders();
    turn(&mut watcher);
    for _ in 0..3 {
        let _ = fs::remove_file(&path);
        fs::write(&path, "a\n").unwrap();
    }
    drop(batches);
    assert_eq!(missed(watcher, notices), [2]);
}

#[test]
fn file_that_was_created_during_the_first_scan_does_not_make_up_for_a_missed_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.jsonl");
    let (mut watcher, notices, batches) = watcher(folder.path());
    watcher.find_folders();
    turn(&mut watcher);
    // Its notification came before the first scan had ended.
    let mut file = File::create(&path).unwrap();
    watcher.watch.wait(Duration::ZERO);
    watcher.scan_folder(0);
    io::Write::write_all(&mut file, b"a\n").unwrap();
    drop(file);
    let changes = watcher.watch.wait(Duration::ZERO);
    assert_eq!(changes.folders, [0], "it is not quiet");
    watcher.apply(&changes);
    for _ in 0..2 {
        fs::remove_file(&path).unwrap();
        fs::write(&path, "b\n").unwrap();
    }
    drop(batches);
    assert_eq!(missed(watcher, notices), [1]);
}
