//! `jetsink spool …`: looking after a spool that no sink has open.

use std::path::Path;
use std::time::{Duration, SystemTime};

use indicatif::HumanBytes;
use jetsink::{
    NatsPublisher, Sink, SinkSettings, SpoolError, SpoolFile, SpoolSettings, SpooledEvent,
    event_json,
};
use jiff::Timestamp;
use serde_json::json;

use crate::arguments::{Dead, InSpool, Replay, Spool};
use crate::publish::wait_for_connection;
use crate::report::{self, counted};
use crate::settings::{Failure, resolve_connection};
use crate::{environment, runtime};

pub(crate) fn run(command: Spool) -> Result<u8, Failure> {
    match command {
        Spool::Replay(arguments) => {
            report::start_log(arguments.verbose, false);
            runtime()?.block_on(replay(*arguments))
        }
        other => {
            report::start_log(0, true);
            Ok(match other {
                Spool::Status(arguments) => status(&arguments),
                Spool::List(arguments) => list(&arguments),
                Spool::Verify(arguments) => verify(&arguments),
                Spool::Dead(arguments) => dead(&arguments),
                Spool::Export(arguments) => export(&arguments),
                Spool::Replay(_) => Ok(0), // matched above
            }?)
        }
    }
}

/// Opens it, and tells what that found damaged.
fn open(directory: &Path) -> Result<SpoolFile, SpoolError> {
    let spool = SpoolFile::open(directory)?;
    if let Some(loss) = spool.loss() {
        report::note(&loss.to_string());
    }
    Ok(spool)
}

fn status(arguments: &InSpool) -> Result<u8, SpoolError> {
    let spool = open(&arguments.directory)?;
    let status = spool.status();
    if arguments.json {
        report::print(
            &json!({
                "events": status.events,
                "subjects": status.subjects,
                "bytes": status.used_bytes,
                "dead_letters": status.dead_letters,
                "may_be_stored": spool.may_be_stored(),
            })
            .to_string(),
        );
        return Ok(0);
    }
    report::print(&format!(
        "{} of {} waiting; {}; {}",
        counted(status.events, "event"),
        counted(status.subjects, "subject"),
        counted(status.dead_letters, "dead letter"),
        HumanBytes(status.used_bytes)
    ));
    for (subject, events, bytes) in spool.subjects() {
        if !report::print(&format!("{events:>10} {bytes:>12} bytes  {subject}")) {
            break;
        }
    }
    if spool.may_be_stored() {
        report::note("some may be stored already: replay looks that up first");
    }
    Ok(0)
}

fn list(arguments: &InSpool) -> Result<u8, SpoolError> {
    let spool = open(&arguments.directory)?;
    let damaged = spool.events(|event| {
        let line = if arguments.json {
            described(&event).to_string()
        } else {
            line(&event)
        };
        report::print(&line);
    })?;
    Ok(told(damaged))
}

fn line(event: &SpooledEvent) -> String {
    let envelope = &event.envelope;
    format!(
        "{:>10} {} {} {} {} bytes{}",
        event.index,
        time(event.spooled_at),
        envelope.subject(),
        envelope.message_id().map_or("-", |id| id.as_str()),
        envelope.payload().len(),
        if event.may_be_stored {
            " (may be stored)"
        } else {
            ""
        }
    )
}

fn described(event: &SpooledEvent) -> serde_json::Value {
    let envelope = &event.envelope;
    json!({
        "index": event.index,
        "spooled_at": time(event.spooled_at),
        "subject": envelope.subject().as_str(),
        "message_id": envelope.message_id().map(|id| id.as_str()),
        "bytes": envelope.payload().len(),
        "may_be_stored": event.may_be_stored,
    })
}

/// Reads a copy: opening a damaged spool would change it.
fn verify(arguments: &InSpool) -> Result<u8, SpoolError> {
    let check = SpoolFile::verify(&arguments.directory)?;
    if arguments.json {
        report::print(
            &json!({
                "events": check.events,
                "dead_letters": check.dead_letters,
                "damaged": check.damaged,
                "reason": check.reason,
            })
            .to_string(),
        );
    } else {
        report::print(&format!(
            "{} and {} can be read",
            counted(check.events, "event"),
            counted(check.dead_letters, "dead letter")
        ));
        if let Some(reason) = &check.reason {
            report::print(&format!("damaged: {reason}"));
        }
        if check.damaged > 0 {
            report::print(&format!(
                "{} can't be read",
                counted(check.damaged, "event")
            ));
        }
    }
    Ok(u8::from(check.reason.is_some() || check.damaged > 0))
}

fn dead(arguments: &Dead) -> Result<u8, SpoolError> {
    let mut spool = open(&arguments.spool.directory)?;
    if arguments.revive {
        let revived = spool.revive_dead_letters()?;
        report::note(&format!(
            "{} waiting again",
            counted(revived, "dead letter")
        ));
        return Ok(0);
    }
    if arguments.delete {
        let deleted = spool.delete_dead_letters()?;
        report::note(&format!("{} deleted", counted(deleted, "dead letter")));
        return Ok(0);
    }
    let damaged = spool.dead_letters(|letter| {
        let text = if arguments.spool.json {
            let mut described = described(&letter.event);
            described["died_at"] = time(letter.died_at).into();
            described["code"] = letter.code.into();
            described["reason"] = letter.reason.clone().into();
            described.to_string()
        } else {
            format!("{}\n           {}", line(&letter.event), letter.reason)
        };
        report::print(&text);
    })?;
    Ok(told(damaged))
}

fn export(arguments: &InSpool) -> Result<u8, SpoolError> {
    let spool = open(&arguments.directory)?;
    let mut failed = 0;
    let damaged = spool.events(|event| match event_json(&event.envelope) {
        Ok(line) => {
            report::print_bytes(&line);
        }
        Err(error) => {
            failed += 1;
            report::note(&format!("event {}: {error}", event.index));
        }
    })?;
    Ok(told(damaged).max(u8::from(failed > 0)))
}

fn told(damaged: u64) -> u8 {
    if damaged > 0 {
        report::note(&format!("{damaged} damaged ones can't be read"));
    }
    u8::from(damaged > 0)
}

async fn replay(arguments: Replay) -> Result<u8, Failure> {
    let directory = &arguments.spool.directory;
    // Tells of a missing spool, which a sink would make.
    drop(open(directory)?);
    let connect = resolve_connection(&arguments.connection, environment)?
        .name("jetsink spool replay")
        .start_disconnected();
    let publisher = NatsPublisher::connect(connect).await?;
    wait_for_connection(&publisher).await;
    let spool = SpoolSettings::new(directory);
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool).await?;
    let receipt = tokio::select! {
        receipt = sink.close(arguments.wait) => receipt,
        _ = tokio::signal::ctrl_c() => sink.close(Duration::ZERO).await,
    };
    if arguments.spool.json {
        report::print(
            &json!({
                "delivered": receipt.delivered,
                "left": receipt.spooled,
                "dead_letters": receipt.dead_letters,
            })
            .to_string(),
        );
    } else {
        report::print(&format!(
            "{} delivered, {} left, {}",
            counted(receipt.delivered, "event"),
            receipt.spooled,
            counted(receipt.dead_letters, "dead letter")
        ));
    }
    Ok(if receipt.spooled > 0 { 4 } else { 0 })
}

/// RFC 3339, in UTC.
fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}
