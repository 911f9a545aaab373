//! Signals that arrive before anything is read: each command that waits ends by them as documented.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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

fn ended_by(mut command: Command, signal: Signal) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_handler(&mut child, signal);
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    child.wait_with_output().unwrap()
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
    // An error at the end does not wait for the writer either.
    let nowhere = folder.path().join("nowhere/rejected");
    let arguments = [
        "--subject",
        "e.a",
        as_text(&path),
        "--rejected",
        as_text(&nowhere),
    ];
    assert_code(&ended_by(jetsink(&arguments), Signal::SIGTERM), 2);
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

#[test]
fn signal_ends_a_replay_that_waits_for_its_first_connection() {
    let (listener, url) = silent_server();
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let file = file_of(&folder, "events.jsonl", &lines(3));
    let spooled = run(&[
        "-s",
        &url,
        "--subject",
        "e.a",
        "--spool",
        as_text(&spool),
        "--max-outage",
        "0",
        as_text(&file),
    ]);
    assert_code(&spooled, 4);
    let replay = ["replay", as_text(&spool), "-s", &url, "--json"];
    let output = ended_by(command("spool", &replay), Signal::SIGTERM);
    assert_code(&output, 143);
    let status = command("spool", &["status", as_text(&spool), "--json"]);
    let status = { status }.output().unwrap();
    assert_eq!(json(&status)["events"], 3, "{}", stderr(&status));
    drop(listener);
}
