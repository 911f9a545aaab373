//! What a drill begins and ends with: what was run, what the streams hold, the verdict in words.

use std::ffi::OsString;

use jetsink::{Binding, NatsPublisher, StreamName, StreamQuery, StreamReading, StreamStart};
use jiff::Timestamp;

use super::arguments::Drill;
use super::event::{Events, Stored};
use super::record::{About, Record};
use crate::failure::Failure;

impl Record {
    /// Whether every promise was kept.
    pub(super) fn is_kept(&self) -> bool {
        let mut checks = self.lanes.iter().flat_map(|lane| &lane.checks);
        checks.all(|check| check.kept != Some(false))
    }
}

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

/// As it would be typed, without what is secret in it.
fn command_line(arguments: impl Iterator<Item = OsString>) -> String {
    // A user by itself is a token.
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

/// `nats://user:password@host` as `***@host`; of several, each. What stands before the host may be part of
/// a login, whatever it looks like.
fn without_login(servers: &str) -> String {
    let server = |server: &str| match server.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => server.to_owned(),
    };
    servers.split(',').map(server).collect::<Vec<_>>().join(",")
}

/// The stream that captures the load's subject.
pub(super) async fn stream_of(
    reader: &NatsPublisher,
    binding: &Binding,
    events: &Events,
) -> Result<StreamName, Failure> {
    let event = binding.envelope(events.event(0, 0).into());
    let event = event.map_err(|error| Failure::Usage(format!("--subject: {error}")))?;
    let subject = event.subject().as_str();
    let failed = |error| Failure::Read {
        stream: format!("for {subject}"),
        error,
    };
    let mut names = reader.admin().stream_names(subject).await.map_err(failed)?;
    match (names.pop(), names.pop()) {
        (Some(stream), None) => Ok(stream),
        _ => Err(Failure::Usage(format!(
            "--subject: no stream captures {subject}; jetsink stream apply makes one"
        ))),
    }
}

/// How many messages the stream has had so far, if it keeps what nobody has read.
pub(super) async fn last_of(reader: &NatsPublisher, stream: &StreamName) -> Result<u64, Failure> {
    let info = reader.admin().stream_info(stream).await;
    let info = info.map_err(|error| Failure::Read {
        stream: stream.to_string(),
        error,
    })?;
    match info["config"]["retention"].as_str() {
        None | Some("limits") => Ok(info["state"]["last_seq"].as_u64().unwrap_or(0)),
        Some(retention) => Err(Failure::Usage(format!(
            "stream {stream} has {retention} retention: others take its messages, so that nobody can tell what \
             is lost; give the load a stream of its own"
        ))),
    }
}

/// The events of a drill that a stream holds behind a message, in its order.
pub(super) async fn read_back(
    reader: &NatsPublisher,
    stream: &StreamName,
    behind: u64,
    events: &Events,
) -> Result<Vec<Stored>, Failure> {
    let failed = |error| Failure::Read {
        stream: stream.to_string(),
        error,
    };
    let query = StreamQuery::new(StreamReading::Whole).start(StreamStart::Sequence(behind + 1));
    let mut messages = reader
        .admin()
        .read_stream(stream, query)
        .await
        .map_err(failed)?;
    if behind > 0 && messages.first_sequence() > behind + 1 {
        return Err(Failure::Usage(format!(
            "stream {stream} has removed messages since the drill began, by its limits or a purge, so that \
             nobody can tell what is lost; give the load a stream that keeps them"
        )));
    }
    let mut stored = Vec::new();
    while let Some(message) = messages.next().await.map_err(failed)? {
        stored.extend(events.recognize(&message.payload));
    }
    Ok(stored)
}

/// The verdict as people read it.
pub(super) fn lines(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    for lane in &record.lanes {
        lines.push(lane.name.clone());
        for check in &lane.checks {
            let (bound, mark) = match (&check.bound, check.kept) {
                (Some(bound), Some(true)) => (bound.as_str(), "kept"),
                (Some(bound), Some(false)) => (bound.as_str(), "BROKEN"),
                _ => ("", ""),
            };
            let line = format!(
                "  {:<30} {:>24}  {bound:<15} {mark}",
                check.name, check.seen
            );
            lines.push(line.trim_end().to_owned());
        }
    }
    let checks = record.lanes.iter().flat_map(|lane| &lane.checks);
    let broken = checks.filter(|check| check.kept == Some(false)).count();
    if record.about.interrupted {
        let faults = record.faults.len();
        lines.push(format!(
            "interrupted after {faults} of its faults; as far as it came:"
        ));
    }
    lines.push(match broken {
        0 if record.about.unread => {
            "no verdict: what the broker holds could not be read".to_owned()
        }
        0 => "every promise was kept".to_owned(),
        1 => "1 promise was BROKEN".to_owned(),
        broken => format!("{broken} promises were BROKEN"),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_typed_again_and_holds_no_secret() {
        let typed = [
            "/usr/bin/jetsink",
            "drill",
            "--server",
            "nats://me:hidden@n1:4222,hidden@n2,nats://n3",
            "--password",
            "hidden",
            "--user",
            "hidden",
            "--token=hidden",
            "--server=hidden@n4",
            "-shidden@n5",
            "--subject",
            "a.{tenantId}",
        ];
        assert_eq!(
            command_line(typed.iter().map(OsString::from)),
            "jetsink drill --server ***@n1:4222,***@n2,nats://n3 --password *** --user *** --token=*** \
             --server=***@n4 -s***@n5 --subject 'a.{tenantId}'"
        );
    }
}
