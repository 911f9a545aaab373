//! `jetsink spool dead` and `discard`: list, revive or delete events.

use jetsink::{OfflineSpool, SpoolError};
use serde_json::json;

use super::arguments::{Dead, Discard};
use super::event::{dead_letter_json, dead_letter_lines};
use super::open::{note_damaged, open};
use crate::output::{self, counted, damaged_part};

pub(super) fn dead(arguments: &Dead) -> Result<u8, SpoolError> {
    let (mut spool, code) = open(&arguments.spool.directory)?;
    let json = arguments.spool.json;
    if arguments.revive {
        let revived = spool.revive_dead_letters()?;
        let what = "dead letter";
        report(&spool, json, "revived", revived, what, "pending again");
        return Ok(code);
    }
    if arguments.delete {
        let deleted = spool.delete_dead_letters()?;
        report(&spool, json, "deleted", deleted, "dead letter", "deleted");
        return Ok(code);
    }
    let damaged = spool.dead_letters(|letter| {
        let text = if json {
            dead_letter_json(&letter).to_string()
        } else {
            dead_letter_lines(&letter)
        };
        output::print(&text);
    })?;
    Ok(note_damaged(damaged).max(code))
}

pub(super) fn discard(arguments: &Discard) -> Result<u8, SpoolError> {
    let (mut spool, code) = open(&arguments.spool.directory)?;
    let discarded = spool.discard(|event| {
        let of_subject = arguments.subject.as_deref();
        let of_subject = of_subject.is_none_or(|s| s == event.envelope.subject().as_str());
        let by_index = &arguments.index;
        of_subject && (by_index.is_empty() || by_index.contains(&event.index))
    })?;
    report(
        &spool,
        arguments.spool.json,
        "discarded",
        discarded,
        "event",
        "discarded",
    );
    Ok(code.max(u8::from(discarded == 0)))
}

/// Reports the number of changed events, and the damage: a change has repaired it.
fn report(spool: &OfflineSpool, as_json: bool, key: &str, count: u64, what: &str, how: &str) {
    let damaged = spool.status().damaged;
    if as_json {
        let damage = spool.loss().map(ToString::to_string);
        let report = json!({ key: count, "damaged": damaged, "damage": damage });
        output::print(&report.to_string());
    } else {
        let damaged = damaged_part(damaged);
        output::note(&format!("{} {how}{damaged}", counted(count, what)));
    }
}
