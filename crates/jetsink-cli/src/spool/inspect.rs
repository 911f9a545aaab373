//! `jetsink spool status`, `list`, `verify` and `export`: read a spool, and change nothing in it.

use indicatif::HumanBytes;
use jetsink::{CloudEvent, Envelope, OfflineSpool, SpoolError, SpooledEvent, Validation};
use serde_json::json;

use super::arguments::{Export, InSpool};
use super::event::{dead_letter_json, event_json, event_line};
use super::open::{note_damaged, open};
use crate::lines::MAX_LINE;
use crate::output::{self, counted};
use crate::units::format_time;

/// The events that can't be exported and are reported one by one; the others are counted.
const MAX_REPORTED: u64 = 20;

pub(super) fn status(arguments: &InSpool) -> Result<u8, SpoolError> {
    let (spool, code) = open(&arguments.directory)?;
    let status = spool.status();
    if arguments.json {
        output::print(
            &json!({
                "events": status.events,
                "subjects": status.subjects,
                "bytes": status.used_bytes,
                "oldest_spooled_at": spool.oldest()?.map(format_time),
                "dead_letters": status.dead_letters,
                "damaged": status.damaged,
                "damage": spool.loss().map(ToString::to_string),
                "unreadable_segments": status.unreadable_segments,
                "may_be_stored": spool.may_be_stored(),
            })
            .to_string(),
        );
        return Ok(code);
    }
    let since = spool.oldest()?.map_or_else(String::new, |oldest| {
        format!(", the oldest since {}", format_time(oldest))
    });
    let unreadable = match status.unreadable_segments {
        0 => String::new(),
        segments => format!("; {}", counted(segments, "unreadable segment")),
    };
    output::print(&format!(
        "{} of {}{since}; {}; {}{unreadable}",
        counted(status.events, "pending event"),
        counted(status.subjects, "subject"),
        counted(status.dead_letters, "dead letter"),
        HumanBytes(status.used_bytes)
    ));
    for usage in spool.subjects() {
        let (events, bytes, subject) = (usage.events, usage.bytes, usage.subject);
        if !output::print(&format!("{events:>10} {bytes:>12} bytes  {subject}")) {
            break;
        }
    }
    if spool.may_be_stored() {
        output::note("some events may be stored already; the next replay looks them up first");
    }
    Ok(code)
}

pub(super) fn list(arguments: &InSpool) -> Result<u8, SpoolError> {
    let (spool, code) = open(&arguments.directory)?;
    let damaged = spool.events(|event| {
        let line = if arguments.json {
            event_json(&event).to_string()
        } else {
            event_line(&event)
        };
        output::print(&line);
    })?;
    Ok(note_damaged(damaged).max(code))
}

/// Reads all, and changes nothing.
pub(super) fn verify(arguments: &InSpool) -> Result<u8, SpoolError> {
    let check = OfflineSpool::verify(&arguments.directory)?;
    if arguments.json {
        output::print(
            &json!({
                "events": check.events,
                "dead_letters": check.dead_letters,
                "damaged": check.damaged,
                "reason": check.reason,
            })
            .to_string(),
        );
    } else {
        output::print(&format!(
            "{} and {} can be read",
            counted(check.events, "event"),
            counted(check.dead_letters, "dead letter")
        ));
        if let Some(reason) = &check.reason {
            output::print(&format!("damaged: {reason}"));
        }
        if check.damaged > 0 {
            output::print(&format!(
                "{} can't be read",
                counted(check.damaged, "record")
            ));
        }
    }
    Ok(u8::from(check.reason.is_some() || check.damaged > 0))
}

/// Writes the events as lines that `jetsink publish` takes, those that it takes only with `--lenient` included.
pub(super) fn export(arguments: &Export) -> Result<u8, SpoolError> {
    let (spool, code) = open(&arguments.directory)?;
    let (mut failed, mut lenient) = (0, 0);
    let mut fail = |event: &SpooledEvent, reason: &str| {
        failed += 1;
        if failed <= MAX_REPORTED {
            output::note(&format!("event {}: {reason}", event.index));
        }
    };
    let mut write = |event: &SpooledEvent, json: serde_json::Value| match line_of(&event.envelope) {
        Ok((line, _)) if line.len() > MAX_LINE && !arguments.json => fail(
            event,
            &format!(
                "its line has {} bytes, and `jetsink publish` takes at most {MAX_LINE}; `jetsink spool replay` \
                 delivers it",
                line.len()
            ),
        ),
        Ok((line, is_valid)) => {
            lenient += u64::from(!is_valid);
            if arguments.json {
                // As it is written: a number may have more digits than a `Value` has.
                let mut object = json.to_string().into_bytes();
                object.pop();
                object.extend_from_slice(b",\"event\":");
                object.extend_from_slice(&line);
                object.push(b'}');
                output::print_bytes(&object);
            } else {
                output::print_bytes(&line);
            }
        }
        Err(error) => fail(event, &error),
    };
    let damaged = if arguments.dead {
        spool.dead_letters(|letter| write(&letter.event, dead_letter_json(&letter)))?
    } else {
        spool.events(|event| write(&event, event_json(&event)))?
    };
    if failed > MAX_REPORTED {
        let events = counted(failed - MAX_REPORTED, "more event");
        output::note(&format!("{events} can't be exported"));
    }
    if lenient > 0 {
        let events = counted(lenient, "event");
        output::note(&format!(
            "{events} of these break rules of CloudEvents: `jetsink publish` takes them with --lenient"
        ));
    }
    Ok(note_damaged(damaged).max(u8::from(failed > 0)).max(code))
}

/// The event's line, and whether it is valid without `--lenient`.
fn line_of(envelope: &Envelope) -> Result<(Vec<u8>, bool), String> {
    let line = jetsink::event_json(envelope).map_err(|error| error.to_string())?;
    match CloudEvent::from_json_with(&line, Validation::Lenient) {
        Ok(event) => {
            let is_valid = event.deviation().is_none();
            Ok((line, is_valid))
        }
        Err(error) => Err(format!("not a CloudEvent: {}", error.message)),
    }
}
