//! One run: lines go into the pipeline, results come out of it in the order of the lines.

mod results;

use std::collections::VecDeque;
use std::time::Duration;

use jetsink::{ConnectError, NatsPublisher, Pipeline, Publisher, Sink};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::in_flight::InFlight;
use super::input::{Batch, Checkpoint, Input, Line, LineLocation, Notice};
use super::rejected::RejectedLines;
use super::report::Report;
use super::saved::Saved;
use super::settings::Settings;
use crate::interrupt::{Interrupt, Signals};

/// The interval between two writes of the position. After a crash the lines since the last write are
/// read again; their message ids identify them.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The time from a signal to the end of the retries. Attempts in flight then have their deadline.
const MAX_END: Duration = Duration::from_secs(5);

/// The longest wait for the last look at followed files.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// The interval between two drawings of the progress while the spool empties.
const FRAME: Duration = Duration::from_millis(100);

/// The reason why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// At the end of the last file.
    Complete,
    /// At a bad line, at a read error, or after too many refusals.
    Failed,
    /// The broker was unreachable for too long.
    Unreachable,
    /// The spool took no more events: it is full, or its disk fails.
    Unspooled,
    /// By a signal.
    Interrupted(Interrupt),
}

/// The next thing that was read.
enum Next {
    Line(Line),
    /// Another file begins. Its lines wait until all earlier lines have results: its name must be on
    /// the disk before a message id contains it.
    File(Checkpoint),
}

pub(super) struct Run<'a> {
    settings: &'a Settings,
    pub(super) report: Report,
    saved: Saved,
    /// Pushed lines without a result.
    in_flight: VecDeque<InFlight>,
    /// The first line without a final result, if reading ended early.
    resume: Option<LineLocation>,
    ending: Ending,
    /// Whether the file of `--rejected` or `--position` could not be written.
    is_unwritten: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        report: Report,
        rejected: Option<RejectedLines>,
    ) -> Self {
        Self {
            settings,
            report,
            saved: Saved::new(settings, rejected),
            in_flight: VecDeque::new(),
            resume: None,
            ending: Ending::Complete,
            is_unwritten: false,
        }
    }

    /// Checks all lines without a connection (`--dry-run`).
    pub(super) async fn check(&mut self, mut input: Input) {
        while let Some(batch) = input.batches.recv().await {
            for next in self.unpack(batch) {
                let Next::Line(line) = next else { continue };
                match line.event {
                    Ok(envelope) => self.report.checked(&envelope, line.raw.len()),
                    Err(_) => self.bad_line(line),
                }
                if self.ending != Ending::Complete {
                    return;
                }
            }
        }
    }

    /// Publishes all lines; returns when each has a result or reading ended early.
    pub(super) async fn publish<P: Publisher>(
        &mut self,
        mut input: Input,
        sink: &Sink<P>,
        mut pipeline: Pipeline<'_, P>,
        signals: &mut Signals,
    ) {
        let mut waiting: VecDeque<Next> = VecDeque::new();
        let mut at_end = false;
        let mut saving = tokio::time::interval(SAVE_INTERVAL);
        saving.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end_at = None;
        loop {
            self.fill(&mut input, &mut waiting, &mut pipeline);
            let reading = self.ending == Ending::Complete;
            if pipeline.is_empty() && (!reading || (at_end && waiting.is_empty())) {
                break;
            }
            tokio::select! {
                biased;
                signal = signals.next() => {
                    self.interrupt(signal);
                    // An event whose attempt fails goes to the spool, if there is one: not once the pipeline is stopped.
                    let attempt = sink.spool().map_or(Duration::ZERO, |_| sink.deadline());
                    let max_end = MAX_END + attempt;
                    self.report.interrupted(self.in_flight.len(), max_end);
                    end_at = Some(Instant::now() + max_end);
                }
                () = reached(end_at), if !pipeline.is_ended() => pipeline.stop(),
                Some(result) = pipeline.next(), if !pipeline.is_empty() => {
                    self.record(result, pipeline.is_ended());
                    if let Ending::Unreachable | Ending::Unspooled = self.ending {
                        pipeline.stop();
                    }
                    self.report.progress(|| sink.state());
                }
                batch = input.batches.recv(), if reading && waiting.is_empty() && !at_end => {
                    match batch {
                        Some(batch) => waiting.extend(self.unpack(batch)),
                        None => at_end = true,
                    }
                }
                Some(notice) = input.notices.recv() => self.notice(&notice),
                () = self.report.tick() => self.report.progress(|| sink.state()),
                _ = saving.tick(), if self.saved.has_position() => self.save_position(),
            }
        }
        input.batches.close();
        self.save_position();
        self.last_look(&mut input, signals).await;
        for loss in input.unopened.take() {
            self.report.unread(&loss);
        }
        self.save_position();
        if self.ending != Ending::Complete && self.resume.is_none() {
            // Lines that were read but not pushed come before unread ones.
            let read = waiting.into_iter().find_map(|next| match next {
                Next::Line(line) => Some(line.location),
                Next::File(_) => None,
            });
            self.resume = match read {
                Some(location) => Some(location),
                None => next_location(&mut input).await,
            };
        }
    }

    /// Takes a signal. The second one ends the process.
    fn interrupt(&mut self, signal: Interrupt) {
        if let Ending::Interrupted(_) = self.ending {
            self.save_position();
            let ended = self.saved.end();
            self.written(ended);
            let first = self.in_flight.front().map(|first| &first.location);
            // A bad line may have set a later location.
            let resume = first.into_iter().chain(&self.resume);
            let resume = resume.min_by_key(|location| (location.index, location.number()));
            self.report
                .ended_at_once(self.settings, resume, first.is_some());
            std::process::exit(self.exit_code(signal.exit_code()).into());
        }
        self.ending = Ending::Interrupted(signal);
    }

    /// Lets the thread that watches files look at them once more, and end. The disk may not answer.
    async fn last_look(&mut self, input: &mut Input, signals: &mut Signals) {
        let until = Instant::now() + LAST_LOOK;
        loop {
            tokio::select! {
                signal = signals.next() => self.interrupt(signal),
                notice = input.notices.recv() => match notice {
                    Some(notice) => self.notice(&notice),
                    None => return,
                },
                () = sleep_until(until) => return,
            }
        }
    }

    /// Pushes lines while the pipeline has room and lines have been read. Never waits: results that are
    /// ready are handled before a batch that is still being read.
    fn fill<P: Publisher>(
        &mut self,
        input: &mut Input,
        waiting: &mut VecDeque<Next>,
        pipeline: &mut Pipeline<'_, P>,
    ) {
        while self.ending == Ending::Complete && pipeline.has_room() {
            if waiting.is_empty()
                && let Ok(batch) = input.batches.try_recv()
            {
                waiting.extend(self.unpack(batch));
            }
            match waiting.pop_front() {
                None => return,
                Some(Next::Line(line)) => self.push(line, pipeline),
                Some(Next::File(checkpoint)) if self.in_flight.is_empty() => {
                    self.saved.advance(self.saved.passed(Some(checkpoint)));
                    self.save_position();
                }
                Some(file @ Next::File(_)) => {
                    waiting.push_front(file);
                    return;
                }
            }
        }
    }

    /// Waits for the spool to empty, or for a signal.
    pub(super) async fn empty_spool(
        &mut self,
        sink: &Sink<NatsPublisher>,
        dead_before: u64,
        signals: &mut Signals,
    ) {
        let wait = match self.ending {
            Ending::Interrupted(_) => Duration::ZERO,
            _ => self.settings.max_outage,
        };
        let mut closing = std::pin::pin!(sink.close(wait));
        let mut frames = tokio::time::interval(FRAME);
        let receipt = loop {
            tokio::select! {
                receipt = &mut closing => break receipt,
                signal = signals.next() => {
                    if self.ending == Ending::Complete {
                        self.report.interrupted_at_the_end();
                    }
                    self.ending = Ending::Interrupted(signal);
                    // Stops waiting; results are still written to the disk.
                    break sink.close(Duration::ZERO).await;
                }
                _ = frames.tick() => self.report.progress(|| sink.state()),
            }
        };
        if let Some(spool) = sink.spool() {
            let unreadable_files = spool.loss().map_or(0, |loss| loss.unreadable_files);
            self.report
                .damaged(spool.status().damaged, unreadable_files);
        }
        self.report.closed(receipt, dead_before);
        if receipt.spooled > 0 {
            self.report.left_because(sink);
        }
    }

    /// The lines of a batch. A read error ends the reading.
    fn unpack(&mut self, batch: Batch) -> Vec<Next> {
        match batch {
            Batch::Lines(lines) => lines.into_iter().map(Next::Line).collect(),
            Batch::Opened(checkpoint) => vec![Next::File(checkpoint)],
            Batch::Failed { location, reason } => {
                self.report.read_failed(&location, &reason);
                self.ending = Ending::Failed;
                self.resume = Some(location);
                Vec::new()
            }
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Note(text) => self.report.note(text),
            Notice::Loss(loss) => self.report.unread(loss),
        }
    }

    fn push<P: Publisher>(&mut self, line: Line, pipeline: &mut Pipeline<'_, P>) {
        match line.event {
            Err(_) => self.bad_line(line),
            Ok(envelope) => {
                self.report.read(&envelope);
                // The caller has just checked that there is room.
                if pipeline.push(envelope).is_ok() {
                    self.in_flight.push_back(InFlight {
                        location: line.location,
                        raw: line.raw,
                        passed: self.saved.passed(line.checkpoint),
                        behind: Vec::new(),
                    });
                }
            }
        }
    }

    /// A file that could not be written is reported whatever else ends the run.
    fn exit_code(&self, other: u8) -> u8 {
        if self.is_unwritten { 2 } else { other }
    }

    /// Ends the run: reports the summary and returns the exit code. `signal` may have arrived behind the last line.
    pub(super) fn end(self, signal: Option<Interrupt>) -> u8 {
        match signal {
            None => self.finish(),
            Some(signal) => self.end_by(signal),
        }
    }

    /// Ends the run at a signal: reports the summary and returns the exit code.
    pub(super) fn end_by(mut self, signal: Interrupt) -> u8 {
        self.ending = Ending::Interrupted(signal);
        self.finish()
    }

    /// Ends the run at a signal before a line was read: reports the summary and returns the exit code.
    pub(super) fn end_unstarted_by(mut self, signal: Interrupt) -> u8 {
        self.resume = Some(LineLocation::first(self.settings));
        self.end_by(signal)
    }

    /// Ends the run because no server has accepted the connection: reports the summary and returns the exit code.
    pub(super) fn end_unconnected(mut self, error: &ConnectError) -> u8 {
        self.report.note(&error.to_string());
        self.ending = Ending::Unreachable;
        self.saved.has_unsent = true;
        self.resume = Some(LineLocation::first(self.settings));
        self.finish()
    }

    /// Reports the summary and returns the exit code.
    fn finish(mut self) -> u8 {
        let ended = self.saved.end();
        self.written(ended);
        if let (true, Ending::Interrupted(_)) = (self.settings.follow, self.ending)
            && !self.saved.has_unsent
        {
            // A signal is the regular end of --follow.
            self.ending = Ending::Complete;
        }
        if self.saved.has_position() || self.settings.dry_run {
            // The next run reads the position; a check has published nothing.
            self.resume = None;
        }
        let code = match self.ending {
            Ending::Interrupted(signal) => signal.exit_code(),
            Ending::Unreachable => 3,
            Ending::Unspooled => 5,
            Ending::Failed => 1,
            Ending::Complete if !self.report.all_taken() => 1,
            Ending::Complete if self.report.left_in_spool() > 0 => 4,
            Ending::Complete => 0,
        };
        let code = self.exit_code(code);
        self.report.not_kept(self.saved.not_kept());
        self.report
            .summary(self.settings, self.resume.as_ref(), code);
        code
    }
}

/// Waits until this time; for ever without one.
pub(super) async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The location of the next line that was read ahead. The channel is closed, so nothing more is read.
async fn next_location(input: &mut Input) -> Option<LineLocation> {
    input.batches.close();
    while let Some(batch) = input.batches.recv().await {
        match batch {
            Batch::Lines(lines) => {
                if let Some(line) = lines.into_iter().next() {
                    return Some(line.location);
                }
            }
            Batch::Failed { location, .. } => return Some(location),
            Batch::Opened(_) => {}
        }
    }
    None
}
