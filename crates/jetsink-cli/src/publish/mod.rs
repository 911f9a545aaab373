//! `jetsink publish`: lines into the pipeline, results out of it, in order.

pub(crate) mod arguments;
mod input;
mod metrics;
mod report;
mod settings;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jetsink::{Delivery, EmitError, Known, NatsPublisher, Pipeline, Publisher, Scope, Sink};
use tokio::time::MissedTickBehavior;

use crate::connection::{environment, wait_for_connection};
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Signals};
use crate::output;
use crate::runtime::runtime;
use arguments::Publish;
use input::{Batch, Input, Line, Mark, Place, PositionFile};
use metrics::MetricsServer;
use report::Report;
use settings::Settings;

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At the end of the last file.
    Complete,
    /// At a bad line, a file that broke off, or too many refusals.
    Failed,
    /// The broker was away for too long.
    Unreachable,
    /// By a signal.
    Interrupted(Interrupt),
}

pub(crate) fn run(arguments: Publish) -> Result<u8, Failure> {
    let settings = Settings::resolve(arguments, environment)?;
    output::start_log(settings.verbose, settings.show_progress || settings.quiet);
    let input = input::open(&settings)?;
    let report = Report::new(&settings, input.total_bytes);
    let runtime = runtime()?;
    let code = runtime.block_on(publish(&settings, input, report))?;
    // The thread that reads may hang in a read of standard input; it has nothing to tidy up.
    runtime.shutdown_background();
    Ok(code)
}

/// Publishes the input, and gives the exit code.
async fn publish(settings: &Settings, input: Input, report: Report) -> Result<u8, Failure> {
    let rejected = settings
        .rejected
        .as_deref()
        .map(open_rejected)
        .transpose()?;
    let position = settings.position.clone().map(PositionFile::open);
    let mut run = Run {
        settings,
        report,
        rejected,
        position: position.transpose()?,
        in_flight: VecDeque::new(),
        passed_over: false,
        resume: None,
        ending: Ending::Complete,
    };
    if settings.dry_run {
        run.check(input).await?;
    } else {
        let metrics = match settings.metrics_listen {
            None => None,
            Some(asked) => {
                let metrics = MetricsServer::bind(asked).await?;
                if asked.port() == 0
                    && let Ok(given) = metrics.address()
                {
                    run.report.metrics_at(given);
                }
                Some(metrics)
            }
        };
        let sink = Arc::new(open_sink(settings).await?);
        if let Some(metrics) = metrics {
            tokio::spawn(metrics.serve(Arc::clone(&sink)));
        }
        let dead_before = sink.spool_status().map_or(0, |spool| spool.dead_letters);
        let pipeline = match settings.window {
            Some(window) => sink.pipeline(window),
            None => sink.pipeline(WIDEST_BY_ITSELF).adaptive(),
        };
        let pipeline = pipeline.patience(settings.max_outage);
        run.publish(input, &sink, pipeline).await?;
        if sink.has_spool() {
            run.empty_spool(&sink, dead_before).await?;
        }
    }
    run.finish()
}

/// What an earlier run has put there stays.
fn open_rejected(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map(BufWriter::new).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })
}

/// With a spool it is there whether the broker is or not.
async fn open_sink(settings: &Settings) -> Result<Sink<NatsPublisher>, Failure> {
    let Some(spool) = &settings.spool else {
        let publisher = NatsPublisher::connect(settings.connect.clone()).await?;
        return Ok(Sink::new(publisher, settings.sink.clone()));
    };
    let publisher = NatsPublisher::connect(settings.connect.clone().start_disconnected()).await?;
    wait_for_connection(&publisher).await;
    Ok(Sink::with_spool(publisher, settings.sink.clone(), spool.clone()).await?)
}

/// The widest window that is chosen without being asked for.
const WIDEST_BY_ITSELF: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// How often the progress is drawn while the spool empties.
const FRAME: Duration = Duration::from_millis(100);

/// How often the position is written. What is dealt with in between is read again after a crash, and
/// recognized by its message ids.
const BETWEEN_SAVES: Duration = Duration::from_secs(1);

struct InFlight {
    place: Place,
    raw: Bytes,
    /// What is dealt with once this one is.
    mark: Option<Mark>,
}

/// What was read and comes next.
enum Next {
    Line(Line),
    /// Lines of another file, which begin once all before them are dealt with: its name must be on the
    /// disk before it is in a message id.
    File(Mark),
}

struct Run<'a> {
    settings: &'a Settings,
    report: Report,
    rejected: Option<BufWriter<File>>,
    position: Option<PositionFile>,
    /// What was pushed and has no result yet.
    in_flight: VecDeque<InFlight>,
    /// Whether a line could not be sent, or is not known to be stored: the position stays before it.
    passed_over: bool,
    /// The first line that is not known to be dealt with, once reading has ended early.
    resume: Option<Place>,
    ending: Ending,
}

impl Run<'_> {
    async fn check(&mut self, mut input: Input) -> Result<(), Failure> {
        while let Some(batch) = input.batches.recv().await {
            for next in self.lines_of(batch) {
                let Next::Line(line) = next else { continue };
                match line.event {
                    Ok(envelope) => self.report.checked(envelope.subject(), line.raw.len()),
                    Err(_) => self.bad_line(line)?,
                }
                if self.ending != Ending::Complete {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn publish<P: Publisher>(
        &mut self,
        mut input: Input,
        sink: &Sink<P>,
        mut pipeline: Pipeline<'_, P>,
    ) -> Result<(), Failure> {
        let mut signals = Signals::new().map_err(Failure::Runtime)?;
        let mut waiting: VecDeque<Next> = VecDeque::new();
        let mut at_end = false;
        let mut saving = tokio::time::interval(BETWEEN_SAVES);
        saving.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while self.ending == Ending::Complete && pipeline.has_room() {
                // Results that are there come before a batch that has to be waited for, not before one
                // that is there too.
                if waiting.is_empty()
                    && let Ok(batch) = input.batches.try_recv()
                {
                    waiting.extend(self.lines_of(batch));
                }
                let Some(next) = waiting.pop_front() else {
                    break;
                };
                match next {
                    Next::Line(line) => self.take(line, &mut pipeline)?,
                    Next::File(mark) if self.in_flight.is_empty() => {
                        self.dealt_with(Some(mark));
                        self.save_position()?;
                    }
                    file @ Next::File(_) => {
                        waiting.push_front(file);
                        break;
                    }
                }
            }
            let reading = self.ending == Ending::Complete;
            if pipeline.is_empty() && (!reading || (at_end && waiting.is_empty())) {
                break;
            }
            tokio::select! {
                biased;
                signal = signals.next() => {
                    if let Ending::Interrupted(_) = self.ending {
                        // The second one: not another moment.
                        pipeline.stop();
                        self.save_position()?;
                        let first = self.in_flight.front().map(|first| &first.place);
                        self.report.ended_at_once(self.settings, first);
                        std::process::exit(signal.exit_code().into());
                    }
                    self.ending = Ending::Interrupted(signal);
                    self.report.interrupted(self.in_flight.len());
                }
                Some(result) = pipeline.next(), if !pipeline.is_empty() => {
                    self.settle(result)?;
                    if self.ending == Ending::Unreachable {
                        pipeline.stop();
                    }
                    self.report.progress(|| sink.state());
                }
                batch = input.batches.recv(), if reading && waiting.is_empty() && !at_end => {
                    match batch {
                        Some(batch) => waiting.extend(self.lines_of(batch)),
                        None => at_end = true,
                    }
                }
                () = self.report.tick() => self.report.progress(|| sink.state()),
                _ = saving.tick(), if self.position.is_some() => self.save_position()?,
            }
        }
        self.save_position()?;
        // Read, but never handed over; or not read at all.
        if self.ending != Ending::Complete && self.resume.is_none() {
            let read = waiting.into_iter().find_map(|next| match next {
                Next::Line(line) => Some(line.place),
                Next::File(_) => None,
            });
            self.resume = match read {
                Some(place) => Some(place),
                None => next_place(&mut input).await,
            };
        }
        Ok(())
    }

    /// Waits for the spool to empty, until Ctrl-C.
    async fn empty_spool(
        &mut self,
        sink: &Sink<NatsPublisher>,
        dead_before: u64,
    ) -> Result<(), Failure> {
        let mut signals = Signals::new().map_err(Failure::Runtime)?;
        let waits = match self.ending {
            Ending::Interrupted(_) => Duration::ZERO,
            _ => self.settings.max_outage,
        };
        let mut closing = std::pin::pin!(sink.close(waits));
        let mut frames = tokio::time::interval(FRAME);
        let receipt = loop {
            tokio::select! {
                receipt = &mut closing => break receipt,
                signal = signals.next() => {
                    if self.ending == Ending::Complete {
                        self.report.interrupted_at_the_end();
                    }
                    self.ending = Ending::Interrupted(signal);
                    // No more waiting; but what is written is written.
                    break sink.close(Duration::ZERO).await;
                }
                _ = frames.tick() => self.report.progress(|| sink.state()),
            }
        };
        self.report.closed(receipt, dead_before);
        if receipt.spooled > 0 {
            self.report.left_because(sink);
        }
        Ok(())
    }

    /// A file that broke off ends the reading.
    fn lines_of(&mut self, batch: Batch) -> Vec<Next> {
        match batch {
            Batch::Lines(lines) => lines.into_iter().map(Next::Line).collect(),
            Batch::Opened(mark) => vec![Next::File(mark)],
            Batch::Note(text) => {
                self.report.note(&text);
                Vec::new()
            }
            Batch::Broken { place, reason } => {
                self.report.broken(&place, &reason);
                self.ending = Ending::Failed;
                self.resume = Some(place);
                Vec::new()
            }
        }
    }

    fn take<P: Publisher>(
        &mut self,
        line: Line,
        pipeline: &mut Pipeline<'_, P>,
    ) -> Result<(), Failure> {
        match line.event {
            Err(_) => self.bad_line(line),
            Ok(envelope) => {
                self.report.read();
                // There is room: the caller has just asked.
                if pipeline.push(envelope).is_ok() {
                    self.in_flight.push_back(InFlight {
                        place: line.place,
                        raw: line.raw,
                        mark: line.mark,
                    });
                }
                Ok(())
            }
        }
    }

    fn bad_line(&mut self, line: Line) -> Result<(), Failure> {
        if let Err(bad) = &line.event {
            self.report.bad_line(&line.place, bad, line.raw.len());
        }
        // A line that was too long was not kept.
        if !line.raw.is_empty() {
            self.reject(&line.raw)?;
        }
        // Dealt with, but not before those before it.
        match self.in_flight.back_mut() {
            Some(last) => last.mark = line.mark,
            None => self.dealt_with(line.mark),
        }
        if self.settings.stop_at_bad_line {
            self.ending = Ending::Failed;
            // It will be no better next time: on from the line behind it.
            let behind = line.place.line + 1;
            self.resume = Some(Place {
                line: behind,
                ..line.place
            });
        }
        Ok(())
    }

    /// The result of the oldest in flight.
    fn settle(&mut self, result: Result<Delivery, EmitError>) -> Result<(), Failure> {
        let Some(InFlight { place, raw, mark }) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let error = match result {
            Ok(delivery) => {
                self.report.stored(&delivery, raw.len());
                self.dealt_with(mark);
                return Ok(());
            }
            Err(error) => error,
        };
        let unknown = error.known() == Known::OutcomeUnknown;
        match error.scope() {
            Scope::Broker => {
                if !matches!(self.ending, Ending::Interrupted(_)) {
                    self.ending = Ending::Unreachable;
                }
                // A bad line may have set a later one.
                let earlier = match &self.resume {
                    Some(resume) => (place.index, place.line) < (resume.index, resume.line),
                    None => true,
                };
                if earlier {
                    self.report.gave_up(&place, &error);
                    self.resume = Some(place);
                }
                self.passed_over = true;
                self.report.not_reached(unknown);
            }
            Scope::Event | Scope::Subject => {
                self.report.failed(&place, &error, unknown);
                self.reject(&raw)?;
                self.dealt_with(mark);
                let most = self.settings.max_failures;
                if most > 0 && self.report.failures() == most && self.ending == Ending::Complete {
                    self.report.too_many_failures(most);
                    self.ending = Ending::Failed;
                }
            }
        }
        Ok(())
    }

    /// Nothing is passed over: not where an earlier line could not be sent.
    fn dealt_with(&mut self, mark: Option<Mark>) {
        if let (Some(position), Some(mark), false) = (&mut self.position, mark, self.passed_over) {
            position.advance(mark);
        }
    }

    /// What was rejected is on the disk before the position is behind it.
    fn save_position(&mut self) -> Result<(), Failure> {
        if self.position.as_ref().is_some_and(PositionFile::is_behind) {
            self.flush_rejected()?;
        }
        self.position.as_mut().map_or(Ok(()), PositionFile::save)
    }

    /// To the disk, where a position depends on it.
    fn flush_rejected(&mut self) -> Result<(), Failure> {
        let (Some(file), Some(path)) = (&mut self.rejected, &self.settings.rejected) else {
            return Ok(());
        };
        let mut flushed = file.flush();
        if self.position.is_some() {
            flushed = flushed.and_then(|()| file.get_ref().sync_data());
        }
        flushed.map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })
    }

    fn reject(&mut self, raw: &[u8]) -> Result<(), Failure> {
        let (Some(file), Some(path)) = (&mut self.rejected, &self.settings.rejected) else {
            return Ok(());
        };
        let written = file.write_all(raw).and_then(|()| file.write_all(b"\n"));
        written.map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })
    }

    fn finish(mut self) -> Result<u8, Failure> {
        self.flush_rejected()?;
        if let (true, Ending::Interrupted(_)) = (self.settings.follow, self.ending)
            && !self.passed_over
        {
            // There is no other way to end it.
            self.ending = Ending::Complete;
        }
        if self.position.is_some() {
            self.resume = None; // the next run knows
        }
        let code = match self.ending {
            Ending::Interrupted(signal) => signal.exit_code(),
            Ending::Unreachable => 3,
            Ending::Failed => 1,
            Ending::Complete if !self.report.all_taken() => 1,
            Ending::Complete if self.report.left_in_spool() > 0 => 4,
            Ending::Complete => 0,
        };
        self.report
            .summary(self.settings, self.resume.as_ref(), code);
        Ok(code)
    }
}

/// The place of the next line that was read ahead, if any: what is behind it is read by nobody.
async fn next_place(input: &mut Input) -> Option<Place> {
    input.batches.close();
    while let Some(batch) = input.batches.recv().await {
        match batch {
            Batch::Lines(lines) => {
                if let Some(line) = lines.into_iter().next() {
                    return Some(line.place);
                }
            }
            Batch::Broken { place, .. } => return Some(place),
            Batch::Opened(_) | Batch::Note(_) => {}
        }
    }
    None
}
