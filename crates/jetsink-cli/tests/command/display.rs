//! Progress, summary and log on standard error.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Instant;

use crate::support::*;

/// The lines that a terminal shows after it has received these bytes.
fn screen(received: &str) -> Vec<String> {
    let mut lines = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut rest = received.chars();
    while let Some(character) = rest.next() {
        match character {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['), "{received:?}");
                let sequence = rest.by_ref();
                let mut number = String::new();
                let action = loop {
                    match sequence.next().unwrap() {
                        digit @ '0'..='9' => number.push(digit),
                        other => break other,
                    }
                };
                let line: &mut Vec<char> = &mut lines[row];
                match (action, number.parse().unwrap_or(0)) {
                    ('A', 0) => row -= 1,
                    ('A', rows) => row -= rows,
                    ('K', 2) => line.clear(),
                    ('K', 0) => line.truncate(column),
                    ('m', _) => {}
                    other => panic!("{other:?} in {received:?}"),
                }
            }
            character => {
                let line: &mut Vec<char> = &mut lines[row];
                if line.len() <= column {
                    line.resize(column + 1, ' ');
                }
                line[column] = character;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let text = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    lines.into_iter().map(text).collect()
}

#[tokio::test]
async fn warning_is_shown_above_the_progress_and_not_in_its_line() {
    let mut server = server().await;
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 1_000,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let url = server.url();
    let mut command = jetsink(&["-s", &url, "--subject", "events.a"]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(pty.slave).spawn().unwrap();
    drop(command);
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", event(1)).unwrap();
    let (sender, shown) = mpsc::channel();
    std::thread::spawn(move || {
        let mut terminal = File::from(pty.master);
        let mut part = [0; 4_096];
        // Ends with an error once the command has closed it.
        while let Ok(read) = terminal.read(&mut part) {
            let _ = sender.send(String::from_utf8_lossy(&part[..read]).into_owned());
        }
    });
    let started = Instant::now();
    let mut received = String::new();
    let mut until = |text: &str| {
        while !received.contains(text) {
            received += &shown.recv_timeout(LONG).unwrap();
            assert!(started.elapsed() < LONG, "{received:?}");
        }
        received.len()
    };
    until("1 event,");
    server.kill().unwrap();
    let drawn = until("reconnecting (attempt");
    child.kill().unwrap();
    child.wait().unwrap();
    let lines = screen(&received[..drawn]);
    let warnings: Vec<_> = lines.iter().filter(|line| line.contains("WARN")).collect();
    assert!(!warnings.is_empty(), "{lines:#?}");
    for warning in warnings {
        assert!(warning.starts_with("20"), "its time: {lines:#?}");
        assert!(!warning.contains("1 event,"), "{lines:#?}");
    }
    let progress = lines.iter().filter(|line| line.contains("1 event,"));
    assert_eq!(progress.count(), 1, "{lines:#?}");
}

#[tokio::test]
async fn quiet_leaves_out_progress_and_summary_and_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_of(&folder, "events.jsonl", &lines(3));
    let spool = folder.path().join("spool");
    let publish = ["-s", "nats://127.0.0.1:1", "--subject", "e.a", "--spool"];
    let publish = [&publish[..], &[as_text(&spool), "--max-outage", "1s"]].concat();
    let publish = [&publish[..], &["--progress", "always", as_text(&file)]].concat();
    let loud = stderr(&run(&publish));
    assert!(loud.contains("3 spooled"), "the summary: {loud}");
    assert!(loud.contains("0 events, reconnecting"), "progress: {loud}");
    assert!(loud.contains(" WARN "), "{loud}");
    let quiet = stderr(&run(&[&publish[..], &["--quiet"]].concat()));
    assert!(!quiet.contains("3 spooled"), "the summary: {quiet}");
    assert!(!quiet.contains("reconnecting"), "progress: {quiet}");
    assert!(quiet.contains(" WARN "), "{quiet}");
}
