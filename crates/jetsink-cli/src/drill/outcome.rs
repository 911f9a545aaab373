//! What a drill begins and ends with: what was run, what the streams hold, the verdict in words.

use jetsink::{Binding, NatsPublisher, PublishError, StreamReading};
use jiff::Timestamp;

use super::arguments::Drill;
use super::event::{Events, Stored};
use super::record::{About, Record};
use crate::settings::Failure;

impl Record {
    /// Whether every promise was kept.
    pub(super) fn is_kept(&self) -> bool {
        let mut checks = self.lanes.iter().flat_map(|lane| &lane.checks);
        checks.all(|check| check.kept != Some(false))
    }
}

pub(super) fn about(arguments: &Drill, nats_server: String, servers: usize) -> About {
    About {
        command: command_line(std::env::args()),
        started: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        jetsink: env!("CARGO_PKG_VERSION").to_owned(),
        nats_server,
        servers,
        rate: arguments.rate.into(),
        payload_bytes: arguments.payload_bytes as usize,
        seconds: 0.0,
        tick_seconds: 0.0,
        deadline_seconds: arguments.deadline.as_secs_f64(),
    }
}

/// As it would be typed, without what is secret in it.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    const SECRET: [&str; 2] = ["--password", "--token"];
    let mut words = vec!["jetsink".to_owned()];
    let mut is_secret = false;
    for argument in arguments.skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
        let word = if std::mem::take(&mut is_secret) {
            "***".to_owned()
        } else if SECRET.contains(&name) && !value.is_empty() {
            format!("{name}=***")
        } else {
            is_secret = SECRET.contains(&argument.as_str());
            without_login(&argument)
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@*+%".contains(c);
        words.push(if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        });
    }
    words.join(" ")
}

/// `nats://user:password@host` as `nats://***@host`; of several, each.
fn without_login(argument: &str) -> String {
    let servers = argument.split(',').map(|server| {
        let Some((scheme, rest)) = server.split_once("://") else {
            return server.to_owned();
        };
        match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => server.to_owned(),
        }
    });
    servers.collect::<Vec<_>>().join(",")
}

/// The stream that captures the load's subject.
pub(super) async fn stream_of(
    reader: &NatsPublisher,
    binding: &Binding,
    events: &Events,
) -> Result<String, Failure> {
    let event = binding.envelope(events.event(0, 0).into());
    let event = event.map_err(|error| Failure::Drill(format!("--subject: {error}")))?;
    let subject = event.subject().as_str();
    let failed = |error| Failure::Read {
        stream: format!("for {subject}"),
        error,
    };
    let mut names = reader.stream_names(subject).await.map_err(failed)?;
    match (names.pop(), names.pop()) {
        (Some(stream), None) => Ok(stream),
        _ => Err(Failure::Drill(format!(
            "--subject: no stream captures {subject}; jetsink stream apply makes one"
        ))),
    }
}

/// The events of a drill that a stream holds, in its order.
pub(super) async fn read_back(
    reader: &NatsPublisher,
    stream: &str,
    events: &Events,
) -> Result<Vec<Stored>, PublishError> {
    let mut messages = reader.read_stream(stream, StreamReading::Whole).await?;
    let mut stored = Vec::new();
    while let Some(message) = messages.next().await? {
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
                "  {:<32} {:>24}  {bound:<14} {mark}",
                check.name, check.seen
            );
            lines.push(line.trim_end().to_owned());
        }
    }
    let checks = record.lanes.iter().flat_map(|lane| &lane.checks);
    let broken = checks.filter(|check| check.kept == Some(false)).count();
    lines.push(match broken {
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
            "nats://me:hidden@n1:4222,nats://n2",
            "--password",
            "hidden",
            "--token=hidden",
            "--subject",
            "a.{tenantId}",
        ];
        assert_eq!(
            command_line(typed.iter().map(|&word| word.to_owned())),
            "jetsink drill --server nats://***@n1:4222,nats://n2 --password *** --token=*** \
             --subject 'a.{tenantId}'"
        );
    }
}
