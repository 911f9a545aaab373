//! The ledger of an audit: the lines of all files, in the order of the files.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use delivery_audit::{Aliases, Audit, Event, Ledger, Outcome, Report};

use super::arguments::Audit as Arguments;
use super::files::{Line, Source};
use super::findings::{Event as NamedEvent, Findings};
use super::keys::{Hash, IdentityHash, hash, identity};
use super::meaning::Meanings;
use super::progress::Progress;
use crate::failure::Failure;

/// An audit of lines by the hash of their bytes, or of their meaning as the alias.
pub(super) type LineAudit = Audit<Hash, IdentityHash>;

/// The files of a ledger and the outcome of the events in each.
#[derive(Clone)]
pub(super) struct Files(Arc<Vec<(Outcome, Source)>>);

impl Files {
    pub(super) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let kinds = [
            (&arguments.files, Outcome::Acknowledged),
            (&arguments.may, Outcome::Unknown),
            (&arguments.spooled, Outcome::Pending),
        ];
        let mut files = Vec::new();
        let mut from_standard_input = 0;
        for (paths, outcome) in kinds {
            for path in paths {
                from_standard_input += usize::from(path == Path::new("-"));
                if from_standard_input > 1 {
                    let text = "standard input (-) can be read once only".to_owned();
                    return Err(Failure::Usage(text));
                }
                files.push((outcome, Source::open(path)?));
            }
        }
        Ok(Self(Arc::new(files)))
    }

    /// Reads all lines and starts the audit. Without files it has no events.
    pub(super) fn audit(&self, arguments: &Arguments) -> Result<LineAudit, Failure> {
        let mut ledger = Ledger::default();
        // The bytes of a spooled event in binary mode differ from those of its line.
        let mut aliases = match arguments.spooled.is_empty() {
            true => None,
            false => Some((Meanings::new()?, Aliases::default())),
        };
        let progress = Progress::of_files(arguments.progress, self.length());
        for (outcome, source) in self.0.iter() {
            source.read(&progress, |line| {
                let too_many = |error| of_line(&line, &error);
                let event = Event::new(hash(&line.bytes), *outcome);
                let event = event.identity(identity(&line.identity.source, &line.identity.id));
                ledger.try_add(event).map_err(too_many)?;
                if let Some((meanings, aliases)) = &mut aliases {
                    let alias = meaning_of(meanings, &line.bytes);
                    aliases.try_add(alias).map_err(too_many)?;
                }
                Ok(true)
            })?;
        }
        progress.finish();
        match aliases {
            None => Ok(ledger.seal()),
            Some((_, aliases)) => ledger.seal_with(aliases).map_err(|_| changed_file()),
        }
    }

    /// Reads all lines again for their meanings, since the stream contains an event in binary mode. On a
    /// thread of its own, so that the connection stays alive.
    pub(super) async fn aliases(&self, arguments: &Arguments) -> Result<Aliases<Hash>, Failure> {
        let (files, when) = (self.clone(), arguments.progress);
        let read = move || {
            let meanings = Meanings::new()?;
            let mut aliases = Aliases::default();
            let progress = Progress::of_files(when, files.length());
            for (_, source) in files.0.iter() {
                source.read(&progress, |line| {
                    let alias = meaning_of(&meanings, &line.bytes);
                    let added = aliases.try_add(alias);
                    added.map_err(|error| of_line(&line, &error))?;
                    Ok(true)
                })?;
            }
            progress.finish();
            Ok::<_, Failure>(aliases)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| Failure::Runtime(error.into()))?
    }

    /// Reads the files once more, for the locations and ids of the lost and altered events to list.
    pub(super) fn name_events(
        &self,
        report: &Report<Hash>,
        max: usize,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        findings.lost.count = report.lost().count();
        findings.altered.count = report.altered().len();
        let mut lost = report.lost().take(max).peekable();
        let mut altered = report.altered().iter().take(max).peekable();
        let mut number = 0;
        let progress = Progress::none();
        for (_, source) in self.0.iter() {
            if lost.peek().is_none() && altered.peek().is_none() {
                break;
            }
            source.read(&progress, |line| {
                let is_lost = lost.next_if_eq(&number).is_some();
                let altered_by = altered.next_if(|altered| altered.event == number);
                let sequence = altered_by.map(|altered| altered.sequence);
                if is_lost || sequence.is_some() {
                    if !report.has_key(number, &hash(&line.bytes)) {
                        return Err(changed(line.path));
                    }
                    let event = NamedEvent {
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
                number += 1;
                Ok(lost.peek().is_some() || altered.peek().is_some())
            })?;
        }
        if lost.next().is_some() || altered.next().is_some() {
            return Err(changed_file());
        }
        Ok(())
    }

    /// In bytes.
    fn length(&self) -> u64 {
        self.0.iter().map(|(_, source)| source.length()).sum()
    }
}

/// A line that is not a valid event has a meaning that no message has.
fn meaning_of(meanings: &Meanings, line: &Bytes) -> Hash {
    meanings.of(line).unwrap_or_else(|| hash(line))
}

fn of_line(line: &Line<'_>, error: &dyn std::error::Error) -> Failure {
    Failure::Usage(format!("{}:{}: {error}", line.path.display(), line.number))
}

fn changed(path: &Path) -> Failure {
    let path = path.display();
    Failure::Usage(format!("{path} was changed while it was read: begin again"))
}

/// One of the files, it is not known which.
pub(super) fn changed_file() -> Failure {
    changed(Path::new("a file"))
}
