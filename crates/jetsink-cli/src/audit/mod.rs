//! `jetsink audit`: what a stream holds, against what was emitted.

pub(crate) mod arguments;
mod files;
mod findings;
mod ledger;
mod minted;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jetsink::{NatsPublisher, PublishError, StreamReader, StreamReading};

use crate::output;
use crate::settings::{Failure, resolve_connection};
use crate::{environment, runtime};
use arguments::Audit;
use files::Identity;
use findings::{Event, Findings, Message, print_minted};
use ledger::{Ended, Ledger, Verdict, identity};
use minted::Minted;

/// The bar is moved once for so many messages.
const STEP: u64 = 1_024;

pub(crate) fn run(arguments: &Audit) -> Result<u8, Failure> {
    output::start_log(0, true);
    let connect = resolve_connection(&arguments.connection, environment)?.name("jetsink audit");
    // Before anybody is connected to: a line that is no event is told at once.
    let ledger = read_ledger(arguments)?;
    let clean = runtime()?.block_on(async {
        let publisher = NatsPublisher::connect(connect).await?;
        if arguments.files.is_empty() {
            by_message_ids(&publisher, arguments).await
        } else {
            by_ledger(&publisher, arguments, ledger).await
        }
    })?;
    Ok(u8::from(!clean))
}

fn read_ledger(arguments: &Audit) -> Result<Ledger, Failure> {
    let mut ledger = Ledger::default();
    for (paths, optional) in [(&arguments.files, false), (&arguments.may, true)] {
        for path in paths {
            files::read(path, |line| {
                let identity = identity(&line.identity.source, &line.identity.id);
                let added = ledger.emitted(&line.bytes, identity, optional);
                added.map_err(|error| {
                    let (path, number) = (line.path.display(), line.number);
                    Failure::Audit(format!("{path}:{number}: {error}"))
                })
            })?;
        }
    }
    Ok(ledger)
}

async fn by_ledger(
    publisher: &NatsPublisher,
    arguments: &Audit,
    mut ledger: Ledger,
) -> Result<bool, Failure> {
    let failed = |error| failure(arguments, error);
    let reading = publisher.read_stream(&arguments.stream, StreamReading::Whole);
    let mut reader = reading.await.map_err(failed)?;
    let bar = bar(arguments, &reader);
    let mut findings = Findings {
        stream: arguments.stream.clone(),
        lines: ledger.len(),
        ..Findings::default()
    };
    while let Some(event) = reader.next().await.map_err(failed)? {
        if event.is_binary {
            let (stream, sequence) = (&arguments.stream, event.sequence);
            return Err(Failure::Audit(format!(
                "stream {stream}: message {sequence} is in binary mode, and lines can only be held against \
                 structured ones; without files, message ids are looked at"
            )));
        }
        findings.messages += 1;
        if findings.messages.is_multiple_of(STEP) {
            bar.inc(STEP);
        }
        let verdict = ledger.stored(&event.subject, event.sequence, &event.payload, || {
            Identity::of(&event.payload).map(|event| identity(&event.source, &event.id))
        });
        let found = match verdict {
            Verdict::Duplicated => &mut findings.duplicated,
            Verdict::OutOfOrder => &mut findings.out_of_order,
            Verdict::Expected | Verdict::Unknown => continue,
        };
        found.add(arguments.show, || Message {
            sequence: event.sequence,
            subject: Some(event.subject),
            message_id: event.message_id,
        });
    }
    bar.finish_and_clear();
    let ended = ledger.finish();
    for &sequence in &ended.unexpected {
        findings.unexpected.add(arguments.show, || Message {
            sequence,
            subject: None,
            message_id: None,
        });
    }
    name_lines(arguments, &ended, &mut findings)?;
    findings.print(arguments.json);
    Ok(findings.is_clean())
}

/// Reads the files once more, for the places and ids of what was found.
fn name_lines(arguments: &Audit, ended: &Ended, findings: &mut Findings) -> Result<(), Failure> {
    let (mut lost, mut altered) = (
        ended.lost.iter().peekable(),
        ended.altered.iter().peekable(),
    );
    let mut index = 0;
    for path in arguments.files.iter().chain(&arguments.may) {
        if lost.peek().is_none() && altered.peek().is_none() {
            break;
        }
        files::read(path, |line| {
            let event = |sequence| Event {
                file: line.path.display().to_string(),
                line: line.number,
                source: line.identity.source,
                id: line.identity.id,
                sequence,
            };
            if lost.next_if(|&&line| line == index).is_some() {
                findings.lost.add(arguments.show, || event(None));
            } else if let Some(&(_, sequence)) = altered.next_if(|(line, _)| *line == index) {
                findings
                    .altered
                    .add(arguments.show, || event(Some(sequence)));
            }
            index += 1;
            Ok(())
        })?;
    }
    Ok(())
}

async fn by_message_ids(publisher: &NatsPublisher, arguments: &Audit) -> Result<bool, Failure> {
    let failed = |error| failure(arguments, error);
    let reading = publisher.read_stream(&arguments.stream, StreamReading::HeadersOnly);
    let mut reader = reading.await.map_err(failed)?;
    let bar = bar(arguments, &reader);
    // What its limits removed is not missing.
    let from_the_first = reader.first_sequence() <= 1;
    let mut minted = Minted::default();
    let mut seen = 0_u64;
    while let Some(event) = reader.next().await.map_err(failed)? {
        minted.saw(event.message_id.as_deref(), &event.subject);
        seen += 1;
        if seen.is_multiple_of(STEP) {
            bar.inc(STEP);
        }
    }
    bar.finish_and_clear();
    let (stream, show) = (&arguments.stream, arguments.show);
    Ok(print_minted(
        &minted,
        stream,
        from_the_first,
        show,
        arguments.json,
    ))
}

fn failure(arguments: &Audit, error: PublishError) -> Failure {
    Failure::Read {
        stream: arguments.stream.clone(),
        error,
    }
}

fn bar(arguments: &Audit, reader: &StreamReader) -> ProgressBar {
    let target = if arguments.progress.applies() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(reader.stored()), target);
    let template = "{bar:16} {percent:>3}% {human_pos} of {human_len} messages, ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
