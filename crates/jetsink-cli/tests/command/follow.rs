//! `--follow`: a file that grows, is rotated, is truncated; a FIFO; and `--position` over restarts.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use nats_local::NatsServer;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

use crate::support::*;

fn follow(server: &NatsServer, arguments: &[&str]) -> Child {
    let url = server.url();
    spawn(
        &[
            &["-s", &url, "--subject", "events.a", "--follow"],
            arguments,
        ]
        .concat(),
    )
}

/// The flags that follow `events.jsonl` with a position and a spool.
fn kept(folder: &TempDir) -> Vec<String> {
    let path = |name: &str| as_text(&folder.path().join(name)).to_owned();
    vec![
        format!("--position={}", path("events.position")),
        format!("--spool={}", path("spool")),
        path("events.jsonl"),
    ]
}

fn append(path: &Path, lines: &[Bytes]) {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    append_bytes(path, &text);
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_file_is_followed_while_it_grows_is_renamed_and_cut_off() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let lines = lines(60);
    // It need not be there yet.
    let mut child = follow(&server, &[as_text(&path)]);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut note = String::new();
    errors.read_line(&mut note).unwrap();
    assert!(note.contains("does not exist yet"), "{note}");
    append(&path, &lines[..10]);
    until_stored(&server, 10).await;
    // Half a line is none.
    append_bytes(&path, &lines[10][..20]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    append_bytes(&path, &lines[10][20..]);
    append_bytes(&path, b"\n");
    until_stored(&server, 11).await;
    // Rotated by renaming: the new file exists at once, the writer changes to it much later.
    let old = folder.path().join("events.jsonl.1");
    fs::rename(&path, &old).unwrap();
    File::create(&path).unwrap();
    append(&old, &lines[11..15]);
    until_stored(&server, 15).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    append(&old, &lines[15..20]);
    append(&path, &lines[20..30]);
    until_stored(&server, 30).await;
    // Rotated by copying and cutting off, with something that was not read yet, and half a line.
    stop(&child);
    append(&path, &lines[30..40]);
    fs::copy(&path, folder.path().join("events.jsonl.2")).unwrap();
    File::create(&path).unwrap();
    append(&path, &lines[40..60]);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGCONT).unwrap();
    until_stored(&server, 60).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 0);
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test]
async fn run_after_a_kill_publishes_each_line_once() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let lines = lines(12_000);
    let flags = kept(&folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut written = 0;
    for round in 0..8 {
        let child = follow(&server, &flags);
        for _ in 0..10 {
            append(&path, &lines[written..written + 100]);
            written += 100;
            tokio::time::sleep(Duration::from_millis(20 + 7 * round)).await;
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
        child.wait_with_output().unwrap();
        // No command reads meanwhile.
        append(&path, &lines[written..written + 250]);
        written += 250;
        match round {
            2 => fs::rename(&path, folder.path().join("events.jsonl-20261123")).unwrap(),
            4 => {
                fs::rename(&path, folder.path().join("events.jsonl.2")).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                append(&path, &lines[written..written + 50]);
                written += 50;
                fs::rename(&path, folder.path().join("events.jsonl.1")).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            5 => {
                fs::copy(&path, folder.path().join("events.jsonl.3")).unwrap();
                File::create(&path).unwrap();
            }
            _ => {}
        }
        append(&path, &lines[written..written + 100]);
        written += 100;
    }
    let child = follow(&server, &flags);
    until_stored(&server, written).await;
    let output = end(child, Signal::SIGINT);
    assert_code(&output, 0);
    assert!(!stderr(&output).contains("resume"), "{}", stderr(&output));
    let findings = findings(&lines[..written], &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
    // No line is published again: only the next line is new.
    let child = follow(&server, &flags);
    append(&path, &lines[written..=written]);
    until_stored(&server, written + 1).await;
    let output = end(child, Signal::SIGTERM);
    assert!(
        stderr(&output).contains("1 of 1 event stored"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn removed_file_is_reported_and_the_new_one_is_read_from_its_beginning() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let lines = lines(20);
    let flags = kept(&folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    append(&path, &lines[..10]);
    let child = follow(&server, &flags);
    until_stored(&server, 10).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    fs::remove_file(&path).unwrap();
    append(&path, &lines[10..]);
    let child = follow(&server, &flags);
    until_stored(&server, 20).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 1);
    let told = stderr(&output);
    assert!(
        told.contains("up to line 10 is not here any more"),
        "{told}"
    );
}

#[tokio::test]
async fn a_rotated_file_that_ends_with_an_empty_line_is_no_loss_when_it_is_removed() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let lines = lines(3);
    let flags = kept(&folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    append_bytes(&path, &[&lines[0][..], b"\n", &lines[1], b"\n\n"].concat());
    let child = follow(&server, &flags);
    until_stored(&server, 2).await;
    let rotated = folder.path().join("events.jsonl.1");
    fs::rename(&path, &rotated).unwrap();
    append(&path, &lines[2..]);
    until_stored(&server, 3).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    fs::remove_file(rotated).unwrap();
    let child = follow(&server, &flags);
    append_bytes(&path, &[b"\n", &event(3).into_bytes()[..], b"\n"].concat());
    until_stored(&server, 4).await;
    let output = end(child, Signal::SIGTERM);
    assert_code(&output, 0);
    assert!(!stderr(&output).contains("not here any more"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_is_read_one_writer_after_another() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.fifo");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let lines = lines(300);
    let child = follow(&server, &[as_text(&path)]);
    for some in lines.chunks(100) {
        let (path, some) = (path.clone(), some.to_vec());
        let writing = tokio::task::spawn_blocking(move || append(&path, &some));
        writing.await.unwrap();
    }
    until_stored(&server, 300).await;
    assert_code(&end(child, Signal::SIGTERM), 0);
    let findings = findings(&lines, &there(&server).await);
    assert!(findings.is_clean(), "{findings}");
}

#[tokio::test]
async fn bad_line_is_reported_once_over_restarts() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let position = folder.path().join("events.position");
    let rejected = folder.path().join("bad.jsonl");
    let spool = folder.path().join("spool");
    let lines = lines(5);
    let flags = [
        "--spool",
        as_text(&spool),
        "--position",
        as_text(&position),
        "--on-bad-line",
        "skip",
        "--rejected",
        as_text(&rejected),
        as_text(&path),
    ];
    append(&path, &lines[..3]);
    append_bytes(&path, b"{}\n");
    for run in 0..2 {
        // The bad line is the last that the first run reads, and the second one has a line to wait for.
        let child = follow(&server, &flags);
        until_stored(&server, 3 + run).await;
        let started = Instant::now();
        while fs::read_to_string(&position).is_ok_and(|text| !text.contains("\"line\":4"))
            && run == 0
        {
            assert!(started.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // All lines that were read are stored, but not all lines were read.
        assert_code(&end(child, Signal::SIGTERM), 1 - run as i32);
        append(&path, &lines[3 + run..4 + run]);
    }
    assert_eq!(fs::read_to_string(&rejected).unwrap(), "{}\n");
    assert_eq!(there(&server).await.len(), 4);
}

#[test]
fn file_that_can_not_be_followed_is_an_error_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    append(&path, &lines(1));
    let fifo = folder.path().join("events.fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let broken = folder.path().join("broken.position");
    fs::write(&broken, "{\"version\":9}").unwrap();
    let position = folder.path().join("position");
    let spool = folder.path().join("spool");
    let spool = as_text(&spool);
    for (arguments, why) in [
        (vec!["-"], "standard input"),
        (
            vec![
                "--spool",
                spool,
                "--position",
                as_text(&position),
                as_text(&fifo),
            ],
            "is no regular file",
        ),
        (
            vec![
                "--spool",
                spool,
                "--position",
                as_text(&broken),
                as_text(&path),
            ],
            "broken.position: ",
        ),
        (
            vec![
                "--spool",
                spool,
                "--position",
                "/no/such/folder/p",
                as_text(&path),
            ],
            "/no/such/folder/p: ",
        ),
        (
            vec!["--position", as_text(&position), as_text(&path)],
            "--spool <DIR>",
        ),
        (
            vec![
                "--spool",
                spool,
                "--position",
                as_text(&broken),
                as_text(&path),
                "other.jsonl",
            ],
            "is a file; several files, folders and patterns need a folder",
        ),
        (vec!["[x/*.jsonl"], "the pattern [x"),
    ] {
        let flags = ["-s", "nats://127.0.0.1:1", "--subject", "a", "--follow"];
        let output = jetsink(&[&flags[..], &arguments].concat())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_code(&output, 2);
        let told = stderr(&output);
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn position_that_can_not_be_written_ends_the_run_with_a_summary() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("state")).unwrap();
    let log = path("events.jsonl");
    append(&log, &lines(1));
    let position = format!("--position={}", as_text(&path("state/position")));
    let spool = format!("--spool={}", as_text(&path("spool")));
    let child = follow(&server, &["--json", &position, &spool, as_text(&log)]);
    until_stored(&server, 1).await;
    fs::remove_dir_all(path("state")).unwrap();
    append(&log, &lines(2)[1..]);
    let output = ended(child);
    assert_code(&output, 2);
    assert_eq!(json(&output)["exit_code"], 2);
    assert!(
        stderr(&output).contains("state/position: "),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn file_that_could_never_be_opened_is_unread() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Files that root can't open either.
    std::os::unix::fs::symlink("/proc/sys/vm/compact_memory", path("denied.jsonl")).unwrap();
    std::os::unix::fs::symlink("loop.jsonl", path("loop.jsonl")).unwrap();
    append(&path("events.jsonl"), &lines(1));
    for (runs, files, unread) in [
        (
            1,
            &["denied.jsonl", "events.jsonl"][..],
            &["denied.jsonl"][..],
        ),
        (2, &[""], &["denied.jsonl", "loop.jsonl"]),
    ] {
        let files: Vec<_> = files.iter().map(|name| path(name)).collect();
        let files = files.iter().map(|path| as_text(path));
        let mut child = follow(
            &server,
            &["--json"].into_iter().chain(files).collect::<Vec<_>>(),
        );
        until_stored(&server, runs).await;
        let mut errors = Errors::of(&mut child);
        errors.read_until("trying again", unread.len());
        let output = end(child, Signal::SIGINT);
        let text = errors.all();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let summary = json(&output);
        assert_eq!(summary["unread_files"], unread.len(), "{text}");
        assert_eq!(summary["exit_code"], 1);
        for name in unread {
            let reported = format!("{name}: it could not be opened: ");
            assert!(text.contains(&reported), "{text}");
        }
        assert!(!text.contains("does not exist"), "{text}");
    }
}

#[tokio::test]
async fn file_of_a_folder_that_was_removed_before_it_could_be_opened_is_unread() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    append(&path("events.jsonl"), &lines(1));
    // The argument of a folder, and the names of the files.
    let arguments = [
        vec![folder.path().to_owned()],
        vec![path("events.jsonl"), path("denied.jsonl")],
    ];
    for (runs, files) in arguments.into_iter().enumerate() {
        let files = files.iter().map(|path| as_text(path));
        let flags: Vec<&str> = ["--json"].into_iter().chain(files).collect();
        let child = follow(&server, &flags);
        until_stored(&server, runs + 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Root can't open it either.
        std::os::unix::fs::symlink("/proc/sys/vm/compact_memory", path("denied.jsonl")).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        fs::remove_file(path("denied.jsonl")).unwrap();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let output = end(child, Signal::SIGINT);
        assert_code(&output, 1);
        let text = stderr(&output);
        assert_eq!(json(&output)["unread_files"], 1, "{text}");
        assert!(
            text.contains("denied.jsonl: it could not be opened: "),
            "{text}"
        );
    }
}

// A reviewer's finding: each restart sent the lines before the rejected one again.
#[tokio::test]
async fn position_is_saved_up_to_the_first_rejected_line_that_can_not_be_kept() {
    let server = server().await;
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let config = Config {
        max_message_size: 600,
        ..stream.cached_info().config.clone()
    };
    jetstream.update_stream(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let good = lines(20);
    let refused = event(99).replace("/test", &format!("/{}", "x".repeat(900)));
    for (name, bad, again) in [
        // Its write fails when it is read, or when the buffer is written.
        ("long", Bytes::from("bad ".repeat(5_000)), 0),
        ("short", Bytes::from("bad"), 10),
        ("refused", Bytes::from(refused), 11),
    ] {
        let before = &good[..10];
        fs::write(&path, "").unwrap();
        append(&path, &[before, &[bad], &good[10..]].concat());
        let stored = count(&server).await;
        let start = |rejected: &str| {
            let mut arguments = kept(&folder);
            // The position of another log: the same file, read anew.
            arguments[0] = format!("--position={}", as_text(&folder.path().join(name)));
            arguments.push(format!("--rejected={rejected}"));
            arguments.push("--on-bad-line=skip".to_owned());
            arguments.push("--json".to_owned());
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            follow(&server, &arguments)
        };
        for run in 0..3 {
            let output = ended(start("/dev/full"));
            assert_code(&output, 2);
            let read = json(&output)["read"].as_u64().unwrap();
            if run == 0 {
                assert!(read >= 10, "{name}: {read}");
            } else {
                assert!(read <= again, "{name}: run {run} has read {read}");
            }
        }
        let rejected = folder.path().join(format!("{name}.rejected"));
        let child = start(as_text(&rejected));
        until_stored(&server, stored + 20).await;
        let started = Instant::now();
        while !fs::metadata(&rejected).is_ok_and(|file| file.len() > 0) {
            assert!(started.elapsed() < Duration::from_secs(20), "{name}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        end(child, Signal::SIGINT);
        let kept = fs::read(&rejected).unwrap();
        assert_eq!(
            kept.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "{name}"
        );
    }
}
