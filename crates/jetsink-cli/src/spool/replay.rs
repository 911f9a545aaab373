//! `jetsink spool replay`: delivers the pending events.

use std::convert::Infallible;
use std::time::Duration;

use indicatif::ProgressBar;
use jetsink::CircuitState as State;
use jetsink::{NatsPublisher, Sink, SinkSettings, SpoolError, SpoolSettings};
use serde_json::json;

use super::arguments::Replay;
use super::open::open;
use crate::connection::{environment, resolve_connection, wait_for_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, counted, damaged_part};
use crate::runtime::blocking;

/// The interval between two drawings of the progress.
const FRAME: Duration = Duration::from_millis(100);

pub(super) async fn replay(arguments: Replay) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(Failure::Runtime)?;
    let Opened { sink, before } = tokio::select! {
        opened = open_all(&arguments) => opened?,
        signal = signals.next() => {
            output::note("interrupted before an event was delivered");
            return Ok(signal.exit_code());
        }
    };
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
    let new_dead_letters = receipt.dead_letters.saturating_sub(before.dead_letters);
    // An interrupted sink may have found less.
    let found = sink.spool().map_or(0, |spool| spool.status().damaged);
    let damaged = found.max(before.damaged);
    if arguments.spool.json {
        output::print(
            &json!({
                "delivered": receipt.delivered,
                "left": receipt.spooled,
                "dead_letters": receipt.dead_letters,
                "new_dead_letters": new_dead_letters,
                "found_stored": receipt.found_stored,
                "obsolete": receipt.obsolete,
                "possible_duplicates": receipt.possible_duplicates,
                "damaged": damaged,
                "damage": before.damage,
            })
            .to_string(),
        );
    } else {
        output::print(&format!(
            "{} delivered, {} left, {}{}",
            counted(receipt.delivered, "event"),
            receipt.spooled,
            counted(new_dead_letters, "new dead letter"),
            damaged_part(damaged)
        ));
        for (count, text) in [
            (receipt.found_stored, "found stored by a look-up"),
            (
                receipt.obsolete,
                "obsolete: their stream keeps later ones of their subject",
            ),
            (
                receipt.possible_duplicates,
                "sent that may have been stored before",
            ),
        ] {
            if count > 0 {
                output::print(&format!("{} {text}", counted(count, "event")));
            }
        }
    }
    if receipt.spooled > 0
        && let Some(reason) = output::why_left(&sink)
    {
        output::note(&reason);
    }
    Ok(match (interrupted, receipt.spooled) {
        (Some(signal), _) => signal.exit_code(),
        (None, 0) => u8::from(new_dead_letters + damaged > 0 || before.damage.is_some()),
        (None, _) => 4,
    })
}

/// A spool that is ready to be delivered.
struct Opened {
    sink: Sink<NatsPublisher>,
    before: Before,
}

/// The spool before the sink opened it, which repairs it.
struct Before {
    dead_letters: u64,
    damaged: u64,
    damage: Option<String>,
}

/// Opens the spool and the sink. A large spool takes long.
async fn open_all(arguments: &Replay) -> Result<Opened, Failure> {
    let directory = arguments.spool.directory.clone();
    // Reports a missing spool, which a sink would create, and a damaged one.
    let before = blocking(move || {
        let (spool, _) = open(&directory)?;
        let status = spool.status();
        Ok::<_, SpoolError>(Before {
            dead_letters: status.dead_letters,
            damaged: status.damaged,
            damage: spool.loss().map(ToString::to_string),
        })
    });
    let before = before.await?;
    let sink = open_sink(arguments).await?;
    Ok(Opened { sink, before })
}

async fn open_sink(arguments: &Replay) -> Result<Sink<NatsPublisher>, Failure> {
    let connect = resolve_connection(&arguments.connection, environment)?
        .name("jetsink spool replay")
        .start_disconnected(true);
    let publisher = NatsPublisher::connect(connect).await?;
    wait_for_connection(&publisher).await;
    let choice = arguments.when_unconfirmed.into();
    let spool = SpoolSettings::new(&arguments.spool.directory).when_unconfirmed(choice);
    Ok(Sink::with_spool(publisher, SinkSettings::default(), spool).await?)
}

/// The progress bar; hidden unless standard error is a terminal.
fn left_progress(sink: &Sink<NatsPublisher>) -> ProgressBar {
    let events = sink.spool().map_or(0, |spool| spool.status().events);
    let template = "{bar:16} {percent:>3}% {human_pos} of {human_len} events, {msg}, ETA {eta}";
    output::progress_bar(true, Some(events), template)
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
