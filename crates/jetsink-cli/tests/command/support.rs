//! Runs the command and reads its output and its stream.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery_audit::{Event, Findings};
use nats_local::{NatsServer, StoredMessage, stored};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Only a command that stalls takes longer.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) const SAMPLES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/cellos-events.jsonl"
);

pub(crate) fn jetsink(arguments: &[&str]) -> Command {
    command("publish", arguments)
}

pub(crate) fn command(subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_jetsink")));
    command.arg(subcommand).args(arguments);
    command
}

/// The command in a shell that runs `before` first, such as a change of a limit. More arguments can be added.
pub(crate) fn command_by_shell(before: &str, subcommand: &str) -> Command {
    let mut shell = clean(Command::new("sh"));
    shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]);
    shell.args([env!("CARGO_BIN_EXE_jetsink"), subcommand]);
    shell
}

fn clean(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    // Without the settings of the user that runs the tests.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let prefixes = ["NATS_", "JETSINK_", "CELLOS_"];
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&variable);
        }
    }
    command.env("XDG_CONFIG_HOME", "/no/such/folder");
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    jetsink(arguments).output().unwrap()
}

pub(crate) fn with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = jetsink(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that stops early does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) async fn server() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server
}

pub(crate) async fn there(server: &NatsServer) -> Vec<StoredMessage> {
    stored(&server.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap()
}

/// The number of messages in the stream, without a consumer: for loops that wait.
pub(crate) async fn count(server: &NatsServer) -> usize {
    let jetstream = server.jetstream().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    usize::try_from(stream.cached_info().state.messages).unwrap()
}

pub(crate) async fn until_stored(server: &NatsServer, expected: usize) {
    let started = Instant::now();
    loop {
        let stored = count(server).await;
        if stored >= expected {
            return;
        }
        assert!(started.elapsed() < LONG, "{stored} of {expected} are there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops the command. Returns when none of its threads runs any more: the signal alone takes effect later.
pub(crate) fn stop(child: &Child) {
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED).unwrap();
}

/// Standard error, line by line, from a thread of its own.
pub(crate) struct Errors {
    lines: Receiver<String>,
    read: String,
}

impl Errors {
    pub(crate) fn of(child: &mut Child) -> Self {
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = errors.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line + "\n"))
        });
        let read = String::new();
        Self { lines, read }
    }

    /// Reads until the text occurs `count` times.
    pub(crate) fn read_until(&mut self, text: &str, count: usize) {
        while self.read.matches(text).count() < count {
            let line = self.lines.recv_timeout(LONG);
            self.read += &line.unwrap_or_else(|_| panic!("{text:?} is missing: {}", self.read));
        }
    }

    /// All of it; waits for its end.
    pub(crate) fn all(mut self) -> String {
        self.read.extend(self.lines);
        self.read
    }
}

/// Sends the signal, and waits for the end.
pub(crate) fn end(child: Child, signal: Signal) -> Output {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    child.wait_with_output().unwrap()
}

/// Waits for the end of a command that ends by itself.
#[track_caller]
pub(crate) fn ended(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > LONG {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("it is still running: {}", stderr(&output));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// Compares lines that must all be stored, in their order, with the messages of a stream.
pub(crate) fn findings(lines: &[Bytes], there: &[StoredMessage]) -> Findings<Bytes> {
    let events = lines.iter().cloned().map(Event::acknowledged);
    let messages = there
        .iter()
        .map(|m| (m.subject.as_str(), m.payload.clone()));
    Findings::of(events, messages)
}

pub(crate) fn event(number: usize) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"/test","type":"t","data":{{"tenantId":"acme"}}}}"#
    )
}

pub(crate) fn lines(count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|number| Bytes::from(event(number)))
        .collect()
}

pub(crate) fn file_of(folder: &TempDir, name: &str, lines: &[Bytes]) -> PathBuf {
    let path = folder.path().join(name);
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn spawn(arguments: &[&str]) -> Child {
    jetsink(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Returns the number after `--from-line` in the output.
pub(crate) fn resume_line(output: &Output) -> String {
    let text = stderr(output);
    let rest = text
        .split("--from-line ")
        .nth(1)
        .unwrap_or_else(|| panic!("no place to resume: {text}"));
    rest.split_whitespace().next().unwrap().to_owned()
}
