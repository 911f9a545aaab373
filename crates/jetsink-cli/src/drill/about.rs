//! Describes the drill for its record: versions, load, and the command line that repeats it.

use std::ffi::OsString;

use jiff::Timestamp;

use super::arguments::Drill;
use super::record::About;
use crate::connection::without_login;

pub(super) fn about(arguments: &Drill, nats_server: String, servers: usize) -> About {
    About {
        command: command_line(std::env::args_os()),
        started: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        jetsink: env!("CARGO_PKG_VERSION").to_owned(),
        nats_server,
        servers,
        rate: arguments.rate.into(),
        payload_bytes: arguments.payload_bytes as usize,
        seconds: 0.0,
        tick_seconds: 0.0,
        deadline_seconds: arguments.deadline.as_secs_f64(),
        interrupted: false,
        unread: false,
    }
}

/// The command line, quoted for a shell and without secrets.
fn command_line(arguments: impl Iterator<Item = OsString>) -> String {
    // A user without a password is a token.
    const SECRET: [&str; 3] = ["--password", "--token", "--user"];
    const SERVER: [&str; 2] = ["--server", "-s"];
    let mut words = vec!["jetsink".to_owned()];
    let mut before = String::new();
    for argument in arguments.skip(1) {
        let argument = argument.to_string_lossy().into_owned();
        let word = match argument.split_once('=') {
            _ if SECRET.contains(&before.as_str()) => "***".to_owned(),
            _ if SERVER.contains(&before.as_str()) => without_login(&argument),
            Some((name, _)) if SECRET.contains(&name) => format!("{name}=***"),
            Some(("--server", servers)) => format!("--server={}", without_login(servers)),
            _ => match argument.strip_prefix("-s") {
                Some(servers) => format!("-s{}", without_login(servers)),
                None => argument.clone(),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@*+%".contains(c);
        words.push(if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        });
        before = argument;
    }
    words.join(" ")
}

#[cfg(test)]
#[path = "tests/about.rs"]
mod tests;
