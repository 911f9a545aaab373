//! Signals that arrive before anything is read: each command that waits ends by them as documented.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use nats_local::NatsServer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, mkfifo};

use crate::support::*;

/// Only a command that never handles signals takes longer.
const LONG: Duration = Duration::from_secs(30);

/// The bit of a signal in a mask of `/proc`.
fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// Waits until the process handles the signal. A process that does not is killed.
fn wait_for_handler(child: &mut Child, signal: Signal) {
    let started = Instant::now();
    let path = format!("/proc/{}/status", child.id());
    loop {
        let status = std::fs::read_to_string(&path).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        if caught & bit(signal) != 0 {
            return;
        }
        if started.elapsed() > LONG {
            child.kill().unwrap();
            panic!("{signal} has no handler");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the end of a process. A process that does not end is killed.
fn code_of(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > LONG {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ended_by(mut command: Command, signal: Signal) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_handler(&mut child, signal);
    signaled(child, signal)
}

/// Sends a signal, and waits for the end. A command that does not end is killed.
fn signaled(child: Child, signal: Signal) -> Output {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    ended(child)
}

/// A server that accepts connections and never greets.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn signal_ends_a_command_that_waits_for_the_writer_of_a_fifo() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for flags in [&[][..], &["--dry-run"]] {
        let arguments = [&["--subject", "e.a", as_text(&path)], flags].concat();
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            assert_code(&ended_by(jetsink(&arguments), signal), code);
        }
    }
}

#[test]
fn signal_ends_a_command_that_waits_for_the_reader_of_its_rejected_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(3));
    let rejected = folder.path().join("rejected");
    mkfifo(&rejected, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for flags in [&[][..], &["--dry-run"]] {
        let publish = ["--subject", "e.a", "--rejected", as_text(&rejected)];
        let arguments = [&publish[..], flags, &[as_text(&file)]].concat();
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let output = ended_by(jetsink(&arguments), signal);
            assert_code(&output, code);
            // Not ended as a blocked command.
            assert!(stderr(&output).contains("0 events/s"), "the summary");
        }
    }
}

/// Starts a command whose rejected lines fill a FIFO that nothing reads, and waits until it is full. Returns its other end, too.
fn blocked_in_writing(folder: &tempfile::TempDir) -> (Child, std::fs::File) {
    let rejected = folder.path().join("rejected");
    if !rejected.exists() {
        mkfifo(&rejected, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let other_end = std::fs::File::options();
    let other_end = { other_end }.read(true).write(true).open(&rejected);
    let other_end = other_end.unwrap();
    let bad = vec![bytes::Bytes::from("x".repeat(1_000)); 1_000];
    let file = file_of(folder, "bad.jsonl", &bad);
    let skip = ["--dry-run", "--on-bad-line", "skip", "--subject", "e.a"];
    let mut command = jetsink(&skip);
    command.args(["--rejected", as_text(&rejected), as_text(&file)]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let capacity = rustix::pipe::fcntl_getpipe_size(&other_end).unwrap();
    let started = Instant::now();
    // A page that a write left partly filled stays so.
    while rustix::io::ioctl_fionread(&other_end).unwrap() < capacity as u64 * 3 / 4 {
        assert!(started.elapsed() < LONG, "the FIFO was not filled");
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, other_end)
}

#[test]
fn signal_ends_a_command_that_is_blocked_in_writing() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (mut child, _other_end) = blocked_in_writing(&folder);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(code_of(&mut child), Some(code));
    }
}

/// A user presses Ctrl-C again, or a supervisor repeats its signal.
#[test]
fn signals_in_short_intervals_end_a_command_that_is_blocked_in_writing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _other_end) = blocked_in_writing(&folder);
    let process = Pid::from_raw(child.id() as i32);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LONG {
            child.kill().unwrap();
            panic!("it does not end");
        }
        kill(process, Signal::SIGINT).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(status.code(), Some(130));
}

/// It waited for the events in flight for as long as `--max-outage`.
#[tokio::test]
async fn signal_bounds_the_wait_for_a_broker_that_has_gone_away() {
    let mut server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("events.jsonl");
    let publish = ["-s", &url, "--subject", "events.a", "--json"];
    let follow = ["--follow", "--max-outage", "1h", as_text(&log)];
    std::fs::write(&log, event(1) + "\n").unwrap();
    let child = spawn(&[&publish[..], &follow].concat());
    until_stored(&server, 1).await;
    server.kill().unwrap();
    let more = event(2) + "\n" + &event(3) + "\n";
    let file = std::fs::File::options().append(true).open(&log);
    file.unwrap().write_all(more.as_bytes()).unwrap();
    // Not read, or in flight: the result is the same.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let output = signaled(child, Signal::SIGTERM);
    assert_code(&output, 143);
    // The acknowledgement of the first one may have come behind the kill.
    let resume = resume_line(&output);
    assert!(["1", "2"].contains(&resume.as_str()), "{}", stderr(&output));
}

/// Those events are tried again on their own, for up to ten minutes.
#[tokio::test]
async fn signal_bounds_the_wait_for_a_stream_without_a_leader() {
    let server = NatsServer::builder().without_jetstream();
    let server = server.start().await.unwrap();
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(3));
    let rejected = folder.path().join("rejected");
    let publish = [
        "-s",
        &url,
        "--subject",
        "e.a",
        "--json",
        "--max-outage",
        "1h",
    ];
    let to = ["--rejected", as_text(&rejected), as_text(&file)];
    let child = spawn(&[&publish[..], &to].concat());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let output = signaled(child, Signal::SIGTERM);
    assert_code(&output, 143);
    assert_eq!(resume_line(&output), "1");
    assert_eq!(std::fs::read(&rejected).unwrap(), b"", "none is at fault");
}

/// It was counted as refused, and the run as complete.
#[tokio::test]
async fn event_whose_stream_fails_after_the_end_of_the_tries_is_not_refused() {
    let server = NatsServer::builder().without_jetstream();
    let server = server.start().await.unwrap();
    let client = server.client().await.unwrap();
    // Answers in the place of a stream that is offline.
    let mut sent = client.subscribe("e.a").await.unwrap();
    client.flush().await.unwrap();
    let (url, folder) = (server.url(), tempfile::tempdir().unwrap());
    let file = file_of(&folder, "events.jsonl", &lines(1));
    let publish = ["-s", &url, "--subject", "e.a", "--json"];
    let long = ["--deadline", "20s", "--max-outage", "1h", as_text(&file)];
    let child = spawn(&[&publish[..], &long].concat());
    let first = tokio::time::timeout(LONG, sent.next()).await.unwrap();
    let reply = first.unwrap().reply.unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let offline = r#"{"error":{"code":500,"err_code":10118,"description":"stream is offline"}}"#;
    client.publish(reply, offline.into()).await.unwrap();
    client.flush().await.unwrap();
    let output = ended(child);
    assert_code(&output, 143);
    let summary = json(&output);
    assert_eq!(
        (&summary["not_reached"], &summary["failed"]),
        (&1.into(), &0.into()),
        "{summary}"
    );
    assert_eq!(resume_line(&output), "1");
    assert!(sent.next().now_or_never().is_none(), "it was sent again");
}

#[test]
fn signal_ends_a_command_that_waits_for_its_first_connection() {
    let (_listener, url) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(3));
    let spool = folder.path().join("spool");
    let publish = ["-s", &url, "--subject", "e.a", as_text(&file), "--json"];
    let output = ended_by(jetsink(&publish), Signal::SIGTERM);
    assert_code(&output, 143);
    assert_eq!(json(&output)["exit_code"], 143);
    for spooled in [&[][..], &["--spool", as_text(&spool)]] {
        let follow = [&publish[..], &["--follow"], spooled].concat();
        assert_code(&ended_by(jetsink(&follow), Signal::SIGTERM), 0);
    }
    let tail = ["-s", &url, "--stream", "EVENTS", "--no-follow"];
    assert_code(&ended_by(command("tail", &tail), Signal::SIGINT), 130);
}

#[test]
fn interrupt_is_handled_although_the_parent_ignored_it() {
    let (_listener, url) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(3));
    let publish = jetsink(&["-s", &url, "--subject", "e.a", as_text(&file)]);
    let mut shell = Command::new("sh");
    // As a shell starts a job in the background.
    shell.arg("-c").arg("trap '' INT; exec \"$0\" \"$@\"");
    shell.arg(publish.get_program()).args(publish.get_args());
    let output = ended_by(shell, Signal::SIGINT);
    assert_code(&output, 130);
}

/// A spool with three events that this server does not take.
fn spool_of_three(folder: &tempfile::TempDir, url: &str) -> PathBuf {
    let spool = folder.path().join("spool");
    let file = file_of(folder, "events.jsonl", &lines(3));
    let publish = ["-s", url, "--subject", "e.a", "--max-outage", "0"];
    let to = ["--spool", as_text(&spool), as_text(&file)];
    assert_code(&run(&[&publish[..], &to].concat()), 4);
    spool
}

#[test]
fn signal_ends_a_replay_that_opens_a_large_spool() {
    let (_listener, url) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let spool = spool_of_three(&folder, &url);
    // The opening reads all of it, which takes minutes. It occupies no room on the disk.
    let files = std::fs::read_dir(&spool).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let segment = paths.find(|path| path.extension().is_some_and(|e| e == "log"));
    let segment = std::fs::File::options().write(true).open(segment.unwrap());
    segment.unwrap().set_len(1 << 40).unwrap();
    let replay = ["replay", as_text(&spool), "-s", &url];
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let output = ended_by(command("spool", &replay), signal);
        assert_code(&output, code);
        let text = stderr(&output);
        assert!(text.contains("before an event was delivered"), "{text}");
    }
}

#[test]
fn signal_ends_a_replay_that_waits_for_its_first_connection() {
    let (listener, url) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let spool = spool_of_three(&folder, &url);
    let replay = ["replay", as_text(&spool), "-s", &url, "--json"];
    let output = ended_by(command("spool", &replay), Signal::SIGTERM);
    assert_code(&output, 143);
    let status = command("spool", &["status", as_text(&spool), "--json"]);
    let status = { status }.output().unwrap();
    assert_eq!(json(&status)["events"], 3, "{}", stderr(&status));
    drop(listener);
}

#[tokio::test]
async fn interrupt_together_with_the_end_of_a_pipe_is_an_interrupt() {
    let server = server().await;
    let url = server.url();
    for dry_run in [&["--dry-run"][..], &[]] {
        for number in 1..=20 {
            let flags = [&["-s", &url, "--subject", "events.a"][..], dry_run].concat();
            let mut command = jetsink(&flags);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            writeln!(input, "{}", event(number)).unwrap();
            wait_for_handler(&mut child, Signal::SIGINT);
            match dry_run {
                [] => until_stored(&server, number).await,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
            // As Ctrl-C does, which ends the writer, too.
            kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
            drop(input);
            assert_eq!(code_of(&mut child), Some(130), "{dry_run:?} {number}");
        }
    }
}
