//! `jetsink audit`: compares a stream with emitted events.

pub(crate) mod arguments;
mod files;
mod findings;
mod found;
mod gaps_report;
mod keys;
mod ledger;
mod meaning;
mod message_ids;
mod progress;

use bytes::Bytes;
use delivery_audit::{Content, Message as Compared, Verdict};
use jetsink::{NatsPublisher, RequestError, StoredEvent, StreamContent};

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::output::{self, LogFrom};
use crate::runtime::runtime;
use crate::system::stdin_is_fifo;
use arguments::Audit;
use files::Identity;
use findings::{Findings, Message, StreamExtent};
use gaps_report::print_gaps;
use keys::{hash, identity};
use ledger::{Files, LineAudit, changed_file};
use meaning::Meanings;
use message_ids::MessageIdGaps;
use progress::Progress;

pub(crate) fn run(arguments: &Audit) -> Result<u8, Failure> {
    output::start_log(0, LogFrom::Error);
    let connect = resolve_connection(&arguments.connection, environment)?.name("jetsink audit");
    // Before connecting: a line that is not an event is reported at once.
    let files = Files::open(arguments)?;
    let audit = files.audit(arguments)?;
    // A pipe, which the user may have meant as a file.
    if arguments.files.is_empty() && stdin_is_fifo() {
        output::note("standard input is a pipe and is not read; give - as a file to read it");
    }
    let clean = runtime()?.block_on(async {
        let publisher = NatsPublisher::connect(connect).await?;
        if arguments.files.is_empty() {
            by_message_ids(&publisher, arguments).await
        } else {
            by_ledger(&publisher, arguments, audit, files).await
        }
    })?;
    Ok(u8::from(!clean))
}

async fn by_ledger(
    publisher: &NatsPublisher,
    arguments: &Audit,
    mut audit: LineAudit,
    files: Files,
) -> Result<bool, Failure> {
    let failed = |error| failure(arguments, error);
    let reading = publisher
        .admin()
        .read_stream(&arguments.stream, StreamContent::Full);
    let mut reader = reading.await.map_err(failed)?;
    let progress = Progress::of_messages(arguments.progress, reader.stored());
    let meanings = Meanings::new()?;
    let mut messages = 0;
    let mut findings = Findings {
        lines: audit.events(),
        ..Findings::default()
    };
    while let Some(event) = reader.next().await.map_err(failed)? {
        messages += 1;
        progress.add(1);
        if event.is_binary && !audit.has_aliases() {
            let aliases = files.aliases(arguments).await?;
            audit.set_aliases(aliases).map_err(|_| changed_file())?;
        }
        let found = match compare(&mut audit, &meanings, &event) {
            Verdict::Duplicated => &mut findings.duplicated,
            Verdict::OutOfOrder => &mut findings.out_of_order,
            // The last two need subjects or refused events, which files do not have.
            Verdict::Unexpected | Verdict::WrongSubject | Verdict::StoredDespiteError => {
                &mut findings.unexpected
            }
            Verdict::Expected | Verdict::Unmatched => continue,
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
    let report = audit.finish();
    findings.add_unexpected(report.unexpected(), arguments.show);
    files.name_events(&report, arguments.show, &mut findings)?;
    findings.print(arguments.json);
    Ok(findings.is_clean())
}

fn compare(audit: &mut LineAudit, meanings: &Meanings, event: &StoredEvent) -> Verdict {
    let named = |json: &[u8]| Identity::of(json).map(|event| identity(&event.source, &event.id));
    let message = |content| Compared {
        sequence: event.sequence,
        subject: &event.subject,
        content,
    };
    if !event.is_binary {
        let key = hash(&event.payload);
        return audit.observe_identified(message(Content::Key(&key)), || named(&event.payload));
    }
    let json = Bytes::from(event.event_json().unwrap_or_default());
    let meaning = meanings.of(&json);
    let content = meaning.as_ref().map_or(Content::Unreadable, Content::Alias);
    audit.observe_identified(message(content), || named(&json))
}

async fn by_message_ids(publisher: &NatsPublisher, arguments: &Audit) -> Result<bool, Failure> {
    let failed = |error| failure(arguments, error);
    let reading = publisher
        .admin()
        .read_stream(&arguments.stream, StreamContent::HeadersOnly);
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

fn failure(arguments: &Audit, error: RequestError) -> Failure {
    Failure::Read {
        stream: arguments.stream.to_string(),
        error,
    }
}
