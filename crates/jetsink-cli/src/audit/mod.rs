//! `jetsink audit`: compares a stream with emitted events.

pub(crate) mod arguments;
mod files;
mod findings;
mod found;
mod gaps_report;
mod index;
mod ledger;
mod meaning;
mod message_ids;
mod progress;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jetsink::{NatsPublisher, PublishError, StoredEvent, StreamReading};

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::output;
use crate::runtime::runtime;
use arguments::Audit;
use files::{Identity, Source, is_piped_in};
use findings::{Event, Findings, Message, StreamExtent};
use gaps_report::print_gaps;
use index::{Index, hash};
use ledger::{Ended, Key, Ledger, Line, Verdict, identity};
use meaning::Meanings;
use message_ids::MessageIdGaps;
use progress::Progress;

pub(crate) fn run(arguments: &Audit) -> Result<u8, Failure> {
    output::start_log(0, true);
    let connect = resolve_connection(&arguments.connection, environment)?.name("jetsink audit");
    // Before connecting: a line that is not an event is reported at once.
    let files = open_all(arguments)?;
    let ledger = read_ledger(arguments, &files)?;
    if arguments.files.is_empty() && is_piped_in() {
        output::note("standard input is a pipe and is not read; give - as a file to read it");
    }
    let clean = runtime()?.block_on(async {
        let publisher = NatsPublisher::connect(connect).await?;
        if arguments.files.is_empty() {
            by_message_ids(&publisher, arguments).await
        } else {
            by_ledger(&publisher, arguments, ledger, files).await
        }
    })?;
    Ok(u8::from(!clean))
}

/// The ledger's files in its order, and what their lines are.
type Files = Arc<Vec<(Line, Source)>>;

fn open_all(arguments: &Audit) -> Result<Files, Failure> {
    let kinds = [
        (&arguments.files, Line::Missing),
        (&arguments.may, Line::Optional),
        (&arguments.spooled, Line::Spooled),
    ];
    let mut files = Vec::new();
    let mut from_standard_input = 0;
    for (paths, kind) in kinds {
        for path in paths {
            from_standard_input += usize::from(path == Path::new("-"));
            if from_standard_input > 1 {
                let text = "standard input (-) can be read once only".to_owned();
                return Err(Failure::Usage(text));
            }
            files.push((kind, Source::open(path)?));
        }
    }
    Ok(Arc::new(files))
}

fn read_ledger(arguments: &Audit, files: &Files) -> Result<Ledger, Failure> {
    let mut ledger = Ledger::default();
    // A spool has lines of its own for events in binary mode.
    let meanings = match arguments.spooled.is_empty() {
        true => None,
        false => Some(Meanings::new()?),
    };
    let bytes = files.iter().map(|(_, source)| source.length()).sum();
    let progress = Progress::of_files(arguments.progress, bytes);
    for (kind, source) in files.iter() {
        source.read(&progress, |line| {
            let meanings = meanings.as_ref();
            let meaning = meanings.map(|meanings| meaning_of(meanings, &line.bytes));
            let identity = identity(&line.identity.source, &line.identity.id);
            let added = ledger.add(*kind, &line.bytes, meaning, identity);
            added.map_err(|error| {
                let (path, number) = (line.path.display(), line.number);
                Failure::Usage(format!("{path}:{number}: {error}"))
            })?;
            Ok(true)
        })?;
    }
    progress.finish();
    ledger.seal();
    Ok(ledger)
}

/// A line that is no event in all respects means what no message does.
fn meaning_of(meanings: &Meanings, line: &Bytes) -> index::Hash {
    meanings.of(line).unwrap_or_else(|| hash(line))
}

/// Once more through the files, since there is a message in binary mode. On a thread of its own:
/// meanwhile the connection lives.
async fn read_meanings(
    arguments: &Audit,
    files: &Files,
    expected: usize,
) -> Result<Index, Failure> {
    let (files, when) = (Arc::clone(files), arguments.progress);
    let read = move || {
        let meanings = Meanings::new()?;
        let mut index = Index::default();
        let mut number = 0_u32;
        let bytes = files.iter().map(|(_, source)| source.length()).sum();
        let progress = Progress::of_files(when, bytes);
        for (_, source) in files.iter() {
            source.read(&progress, |line| {
                index.add(meaning_of(&meanings, &line.bytes), number);
                number += 1;
                Ok(true)
            })?;
        }
        progress.finish();
        index.sort();
        Ok::<_, Failure>((number, index))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (lines, index) = read.map_err(|error| Failure::Runtime(error.into()))??;
    if lines as usize != expected {
        return Err(changed(Path::new("a file")));
    }
    Ok(index)
}

async fn by_ledger(
    publisher: &NatsPublisher,
    arguments: &Audit,
    mut ledger: Ledger,
    files: Files,
) -> Result<bool, Failure> {
    let failed = |error| failure(arguments, error);
    let reading = publisher
        .admin()
        .read_stream(&arguments.stream, StreamReading::Whole);
    let mut reader = reading.await.map_err(failed)?;
    let progress = Progress::of_messages(arguments.progress, reader.stored());
    let meanings = Meanings::new()?;
    let mut messages = 0;
    let mut findings = Findings {
        lines: ledger.len(),
        ..Findings::default()
    };
    while let Some(event) = reader.next().await.map_err(failed)? {
        messages += 1;
        progress.add(1);
        if event.is_binary && !ledger.has_meanings() {
            ledger.add_meanings(read_meanings(arguments, &files, ledger.len()).await?);
        }
        let found = match verdict(&mut ledger, &meanings, &event) {
            Verdict::Duplicated => &mut findings.duplicated,
            Verdict::OutOfOrder => &mut findings.out_of_order,
            Verdict::Unexpected => &mut findings.unexpected,
            Verdict::Expected | Verdict::Stranger => continue,
        };
        found.add(arguments.show, || Message {
            sequence: event.sequence,
            subject: Some(event.subject),
            message_id: event.message_id,
        });
    }
    progress.finish();
    findings.extent = StreamExtent::new(&arguments.stream, messages, &reader);
    reader.close().await;
    let ended = ledger.finish();
    findings.add_unexpected(&ended.unexpected, arguments.show);
    name_lines(arguments, &files, &ledger, &ended, &mut findings)?;
    findings.print(arguments.json);
    Ok(findings.is_clean())
}

fn verdict(ledger: &mut Ledger, meanings: &Meanings, event: &StoredEvent) -> Verdict {
    let (subject, sequence) = (&event.subject, event.sequence);
    let named = |json: &[u8]| Identity::of(json).map(|event| identity(&event.source, &event.id));
    if !event.is_binary {
        let key = Key::Bytes(&event.payload);
        return ledger.stored(subject, sequence, key, || named(&event.payload));
    }
    let json = Bytes::from(event.event_json().unwrap_or_default());
    let key = Key::Meaning(meanings.of(&json));
    ledger.stored(subject, sequence, key, || named(&json))
}

/// Reads the files once more, for the locations and ids of the listed findings.
fn name_lines(
    arguments: &Audit,
    files: &Files,
    ledger: &Ledger,
    ended: &Ended,
    findings: &mut Findings,
) -> Result<(), Failure> {
    findings.lost.count = ended.lost.len();
    findings.altered.count = ended.altered.len();
    let mut lost = ended.lost.iter().take(arguments.show).peekable();
    let mut altered = ended.altered.iter().take(arguments.show).peekable();
    let mut index = 0;
    let progress = Progress::none();
    for (_, source) in files.iter() {
        if lost.peek().is_none() && altered.peek().is_none() {
            break;
        }
        source.read(&progress, |line| {
            let is_lost = lost.next_if(|number| **number == index).is_some();
            let altered_by = altered.next_if(|(number, _)| *number == index);
            let sequence = altered_by.map(|(_, sequence)| *sequence);
            if is_lost || sequence.is_some() {
                if !ledger.holds(index, &line.bytes) {
                    return Err(changed(line.path));
                }
                let event = Event {
                    file: line.path.display().to_string(),
                    line: line.number,
                    source: line.identity.source,
                    id: line.identity.id,
                    sequence,
                };
                match sequence {
                    None => findings.lost.listed.push(event),
                    Some(_) => findings.altered.listed.push(event),
                }
            }
            index += 1;
            Ok(lost.peek().is_some() || altered.peek().is_some())
        })?;
    }
    if lost.next().is_some() || altered.next().is_some() {
        return Err(changed(Path::new("a file")));
    }
    Ok(())
}

fn changed(path: &Path) -> Failure {
    let path = path.display();
    Failure::Usage(format!("{path} was changed while it was read: begin again"))
}

async fn by_message_ids(publisher: &NatsPublisher, arguments: &Audit) -> Result<bool, Failure> {
    let failed = |error| failure(arguments, error);
    let reading = publisher
        .admin()
        .read_stream(&arguments.stream, StreamReading::HeadersOnly);
    let mut reader = reading.await.map_err(failed)?;
    let progress = Progress::of_messages(arguments.progress, reader.stored());
    let mut gaps = MessageIdGaps::new(arguments.show);
    let mut messages = 0;
    while let Some(event) = reader.next().await.map_err(failed)? {
        gaps.observe(event.message_id.as_deref(), &event.subject);
        messages += 1;
        progress.add(1);
    }
    progress.finish();
    let extent = StreamExtent::new(&arguments.stream, messages, &reader);
    reader.close().await;
    Ok(print_gaps(&gaps, &extent, arguments.show, arguments.json))
}

fn failure(arguments: &Audit, error: PublishError) -> Failure {
    Failure::Read {
        stream: arguments.stream.to_string(),
        error,
    }
}
