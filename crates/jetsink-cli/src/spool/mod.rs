//! `jetsink spool …`: looking after a spool that no sink has open.

pub(crate) mod arguments;

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jetsink::circuit::State;
use jetsink::{
    BuriedEvent, NatsPublisher, Sink, SinkSettings, SpoolError, SpoolFile, SpoolSettings,
    SpooledEvent, event_json,
};
use jiff::Timestamp;
use serde_json::json;

use crate::connection::{environment, resolve_connection, wait_for_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, counted};
use crate::runtime::runtime;
use arguments::{Dead, Discard, Export, InSpool, Replay, Spool};

/// How often the progress is drawn.
const FRAME: Duration = Duration::from_millis(100);

pub(crate) fn run(command: Spool) -> Result<u8, Failure> {
    match command {
        Spool::Replay(arguments) => {
            output::start_log(arguments.verbose, false);
            runtime()?.block_on(replay(*arguments))
        }
        other => {
            output::start_log(0, true);
            Ok(match other {
                Spool::Status(arguments) => status(&arguments),
                Spool::List(arguments) => list(&arguments),
                Spool::Verify(arguments) => verify(&arguments),
                Spool::Dead(arguments) => dead(&arguments),
                Spool::Export(arguments) => export(&arguments),
                Spool::Discard(arguments) => discard(&arguments),
                Spool::Replay(_) => Ok(0), // matched above
            }?)
        }
    }
}

/// Opens it, and tells what that found damaged: exit code 1 then.
fn open(directory: &Path) -> Result<(SpoolFile, u8), SpoolError> {
    let spool = SpoolFile::open(directory)?;
    tell_set_aside(directory);
    if let Some(loss) = spool.loss() {
        output::note(&loss.to_string());
    }
    let code = u8::from(spool.loss().is_some());
    Ok((spool, code))
}

/// Until somebody takes them away.
fn tell_set_aside(directory: &Path) {
    for file in SpoolFile::set_aside(directory) {
        output::note(&format!(
            "{} is a damaged spool that was set aside; what could be read of it was kept. Delete it \
             once nobody needs it",
            file.display()
        ));
    }
}

fn status(arguments: &InSpool) -> Result<u8, SpoolError> {
    let (spool, code) = open(&arguments.directory)?;
    let status = spool.status();
    if arguments.json {
        output::print(
            &json!({
                "events": status.events,
                "subjects": status.subjects,
                "bytes": status.used_bytes,
                "oldest_spooled_at": spool.oldest()?.map(time),
                "dead_letters": status.dead_letters,
                "may_be_stored": spool.may_be_stored(),
            })
            .to_string(),
        );
        return Ok(code);
    }
    let since = spool.oldest()?.map_or_else(String::new, |oldest| {
        format!(", the oldest since {}", time(oldest))
    });
    output::print(&format!(
        "{} of {} waiting{since}; {}; {}",
        counted(status.events, "event"),
        counted(status.subjects, "subject"),
        counted(status.dead_letters, "dead letter"),
        HumanBytes(status.used_bytes)
    ));
    for (subject, events, bytes) in spool.subjects() {
        if !output::print(&format!("{events:>10} {bytes:>12} bytes  {subject}")) {
            break;
        }
    }
    if spool.may_be_stored() {
        output::note("replay had begun, and some may be stored already: it looks that up first");
    }
    Ok(code)
}

fn list(arguments: &InSpool) -> Result<u8, SpoolError> {
    let (spool, code) = open(&arguments.directory)?;
    let damaged = spool.events(|event| {
        let line = if arguments.json {
            described(&event).to_string()
        } else {
            line(&event)
        };
        output::print(&line);
    })?;
    Ok(told(damaged).max(code))
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
    tell_set_aside(&arguments.directory);
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
                counted(check.damaged, "event")
            ));
        }
    }
    Ok(u8::from(check.reason.is_some() || check.damaged > 0))
}

fn dead(arguments: &Dead) -> Result<u8, SpoolError> {
    let (mut spool, code) = open(&arguments.spool.directory)?;
    let json = arguments.spool.json;
    if arguments.revive {
        let revived = spool.revive_dead_letters()?;
        done(json, "revived", revived, "dead letter", "waiting again");
        return Ok(code);
    }
    if arguments.delete {
        let deleted = spool.delete_dead_letters()?;
        done(json, "deleted", deleted, "dead letter", "deleted");
        return Ok(code);
    }
    let damaged = spool.dead_letters(|letter| {
        let text = if json {
            described_dead(&letter).to_string()
        } else {
            let died = time(letter.died_at);
            format!(
                "{}\n{:>10} {died} {}",
                line(&letter.event),
                "died",
                letter.reason
            )
        };
        output::print(&text);
    })?;
    Ok(told(damaged).max(code))
}

/// What was changed.
fn done(as_json: bool, key: &str, count: u64, what: &str, how: &str) {
    if as_json {
        output::print(&json!({ key: count }).to_string());
    } else {
        output::note(&format!("{} {how}", counted(count, what)));
    }
}

fn described_dead(letter: &BuriedEvent) -> serde_json::Value {
    let mut described = described(&letter.event);
    described["died_at"] = time(letter.died_at).into();
    described["code"] = letter.code.into();
    described["reason"] = letter.reason.clone().into();
    described
}

fn discard(arguments: &Discard) -> Result<u8, SpoolError> {
    let (mut spool, code) = open(&arguments.spool.directory)?;
    let discarded = spool.discard(|event| {
        let of_subject = arguments.subject.as_deref();
        let of_subject = of_subject.is_none_or(|s| s == event.envelope.subject().as_str());
        let by_index = &arguments.index;
        of_subject && (by_index.is_empty() || by_index.contains(&event.index))
    })?;
    done(
        arguments.spool.json,
        "discarded",
        discarded,
        "event",
        "discarded",
    );
    Ok(code.max(u8::from(discarded == 0)))
}

fn export(arguments: &Export) -> Result<u8, SpoolError> {
    let (spool, code) = open(&arguments.directory)?;
    let mut failed = 0;
    let mut write = |event: &SpooledEvent, described: serde_json::Value| {
        match event_json(&event.envelope) {
            Ok(line) if arguments.json => {
                let mut described = described;
                // It is JSON: just made, or checked when it came in.
                described["event"] = serde_json::from_slice(&line).unwrap_or_default();
                output::print(&described.to_string());
            }
            Ok(line) => {
                output::print_bytes(&line);
            }
            Err(error) => {
                failed += 1;
                output::note(&format!("event {}: {error}", event.index));
            }
        }
    };
    let damaged = if arguments.dead {
        spool.dead_letters(|letter| write(&letter.event, described_dead(&letter)))?
    } else {
        spool.events(|event| write(&event, described(&event)))?
    };
    Ok(told(damaged).max(u8::from(failed > 0)).max(code))
}

fn told(damaged: u64) -> u8 {
    if damaged > 0 {
        output::note(&format!("{damaged} damaged ones can't be read"));
    }
    u8::from(damaged > 0)
}

async fn replay(arguments: Replay) -> Result<u8, Failure> {
    let directory = &arguments.spool.directory;
    // Tells of a missing spool, which a sink would make, and of a damaged one.
    let (before, code) = open(directory)?;
    let dead_before = before.status().dead_letters;
    drop(before);
    let connect = resolve_connection(&arguments.connection, environment)?
        .name("jetsink spool replay")
        .start_disconnected();
    let publisher = NatsPublisher::connect(connect).await?;
    wait_for_connection(&publisher).await;
    let spool = SpoolSettings::new(directory);
    let sink = Sink::with_spool(publisher, SinkSettings::default(), spool).await?;
    let mut signals = Signals::new().map_err(Failure::Runtime)?;
    let mut interrupted = None;
    let progress = left_progress(&sink);
    let receipt = tokio::select! {
        receipt = sink.close(arguments.wait) => receipt,
        signal = signals.next() => {
            interrupted = Some(signal);
            sink.close(Duration::ZERO).await
        }
        never = show_progress(&sink, &progress) => match never {},
    };
    progress.finish_and_clear();
    let new_dead_letters = receipt.dead_letters.saturating_sub(dead_before);
    if arguments.spool.json {
        output::print(
            &json!({
                "delivered": receipt.delivered,
                "left": receipt.spooled,
                "dead_letters": receipt.dead_letters,
                "new_dead_letters": new_dead_letters,
            })
            .to_string(),
        );
    } else {
        output::print(&format!(
            "{} delivered, {} left, {}",
            counted(receipt.delivered, "event"),
            receipt.spooled,
            counted(new_dead_letters, "new dead letter")
        ));
    }
    if receipt.spooled > 0
        && let Some(reason) = output::why_left(&sink)
    {
        output::note(&reason);
    }
    Ok(match (interrupted, receipt.spooled) {
        (Some(signal), _) => signal.exit_code(),
        (None, 0) => code.max(u8::from(new_dead_letters > 0)),
        (None, _) => 4,
    })
}

/// On a terminal.
fn left_progress(sink: &Sink<NatsPublisher>) -> ProgressBar {
    let events = sink.spool_status().map_or(0, |spool| spool.events);
    let bar = ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stderr());
    let template = "{bar:16} {percent:>3}% {human_pos} of {human_len} events, {msg}, ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

async fn show_progress(sink: &Sink<NatsPublisher>, bar: &ProgressBar) -> Infallible {
    let mut frames = tokio::time::interval(FRAME);
    loop {
        frames.tick().await;
        let status = sink.status();
        let left = status.spool.map_or(0, |spool| spool.events);
        bar.set_message(match status.broker {
            State::Connected => "connected".to_owned(),
            State::Reconnecting { attempt, .. } => format!("reconnecting (attempt {attempt})"),
        });
        bar.set_position(bar.length().unwrap_or(0).saturating_sub(left));
    }
}

/// RFC 3339, in UTC.
fn time(time: SystemTime) -> String {
    let shown = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), shown)
}
