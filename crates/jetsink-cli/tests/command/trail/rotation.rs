//! Trails that grow, and are archived or copied while they are followed.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn a_growing_trail_is_followed_over_restarts_and_half_rows() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 5).await;
    let (half, rest) = rows[5].split_at(100);
    let write = |text: &str| {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write(half);
    tokio::time::sleep(Duration::from_millis(300)).await;
    write(rest);
    write("\n");
    until_stored(&server, 6).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    append(&path, &rows[6..12]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 12).await;
    end(child, Signal::SIGKILL);
    append(&path, &rows[12..15]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 15).await;
    // A new trail begins, as when the file is archived while CellOS is stopped.
    fs::rename(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
    let new = first_row(&event(0));
    trail(&folder, std::slice::from_ref(&new));
    until_stored(&server, 16).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 0);
    assert_stored(&there(&server).await, &[&rows[..15], &[new]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chain_in_a_fifo_continues_with_the_next_writer() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trail.fifo");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let rows = rows();
    let url = server.url();
    let own = ["-s", &url, "--follow", as_text(&path)];
    let child = spawn(&[&own, &FORMAT[..]].concat());
    for (written, some) in rows[..9].chunks(3).enumerate() {
        let (path, some) = (path.clone(), some.to_vec());
        let writing = tokio::task::spawn_blocking(move || append(&path, &some));
        writing.await.unwrap();
        until_stored(&server, 3 * (written + 1)).await;
        // The reader observes the end of the writer.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_code(&end(child, Signal::SIGTERM), 0);
    assert_stored(&there(&server).await, &rows[..9]);
}

#[tokio::test]
async fn a_break_before_an_unterminated_row_at_the_end_of_a_copy_is_reported() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..3]);
    let continued = ["--on-broken-chain=continue"];
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 3).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    // Row 4 is missing; then the file is copied and truncated.
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(rows[4].as_bytes()).unwrap();
    fs::copy(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
    let new = first_row(&event(0));
    trail(&folder, std::slice::from_ref(&new));
    let child = follow(&server, &folder, &continued);
    until_stored(&server, 5).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl.1:4:1: "), "{text}");
    let expected = [&rows[..3], &rows[4..5], &[new]].concat();
    assert_stored(&there(&server).await, &expected);
}

fn save_head(folder: &TempDir, row: &str) {
    fs::write(folder.path().join("audit-trail.head"), hash_of(row)).unwrap();
}

/// Writes to a FIFO once the command opens it.
#[track_caller]
fn supply(fifo: &Path, text: String) {
    let (sender, supplied) = mpsc::channel();
    let fifo = fifo.to_owned();
    std::thread::spawn(move || sender.send(fs::write(fifo, text)));
    supplied.recv_timeout(LONG).unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_saved_hash_of_an_archived_trail_is_no_break_of_the_new_one() {
    for is_saved_later in [true, false] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let rows = rows();
        let path = trail(&folder, &rows[..5]);
        // The test knows when it is read.
        let head = folder.path().join("audit-trail.head");
        mkfifo(&head, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let child = follow(&server, &folder, &["--rotate-wait=100ms"]);
        supply(&head, hash_of(&rows[4]));
        until_stored(&server, 5).await;
        fs::rename(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
        let new = first_row(&event(0));
        trail(&folder, std::slice::from_ref(&new));
        supply(&head, hash_of(&rows[4]));
        until_stored(&server, 6).await;
        // CellOS writes the hash after the row.
        let saved = if is_saved_later { &new } else { &rows[4] };
        supply(&head, hash_of(saved));
        let mut expected = [&rows[..5], std::slice::from_ref(&new)].concat();
        if is_saved_later {
            let next = next_row(&hash_of(&new), &event(1));
            append(&path, std::slice::from_ref(&next));
            expected.push(next);
            until_stored(&server, 7).await;
            assert_code(&end(child, Signal::SIGTERM), 0);
        } else {
            let output = ended(child);
            assert_code(&output, 1);
            let text = stderr(&output);
            assert!(text.contains("rows were removed from the end"), "{text}");
        }
        assert_stored(&there(&server).await, &expected);
    }
}

#[tokio::test]
async fn a_followed_trail_whose_last_line_end_is_missing_is_not_short() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..5]);
    let length = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 1).unwrap();
    save_head(&folder, &rows[4]);
    let child = follow(&server, &folder, &["--rotate-wait=100ms"]);
    until_stored(&server, 4).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(count(&server).await, 4);
    // Its row is read when the file is rotated.
    fs::rename(&path, folder.path().join("audit-trail.jsonl.1")).unwrap();
    let new = first_row(&event(0));
    save_head(&folder, &new);
    trail(&folder, std::slice::from_ref(&new));
    until_stored(&server, 6).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    assert_stored(&there(&server).await, &[&rows[..5], &[new]].concat());
}

#[tokio::test]
async fn an_incomplete_row_at_the_end_of_a_compressed_trail_is_a_break() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..3]);
    let child = follow(&server, &folder, &[]);
    until_stored(&server, 3).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    // CellOS was stopped while it wrote row 5; then the trail was archived.
    let text = format!("{}\n{}", rows[..4].join("\n"), &rows[4][..200]);
    let archive = File::create(folder.path().join("audit-trail.jsonl.1.gz")).unwrap();
    let mut encoder = GzEncoder::new(archive, Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(&path).unwrap();
    let new = first_row(&event(0));
    trail(&folder, std::slice::from_ref(&new));
    let child = follow(&server, &folder, &["--on-broken-chain=continue"]);
    until_stored(&server, 5).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl.1.gz:5:1: "), "{text}");
    assert!(text.contains("it is no JSON object"), "{text}");
    assert!(!text.contains("not read"), "{text}");
    assert_stored(&there(&server).await, &[&rows[..4], &[new]].concat());
}
