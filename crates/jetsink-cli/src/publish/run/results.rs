//! The result of a line, the position behind it, and the file of rejected lines.

use jetsink::{Delivery, EmitError, Known, PublishError, Scope};

use super::{Ending, Run};
use crate::failure::Failure;
use crate::publish::in_flight::InFlight;
use crate::publish::input::{Line, LineLocation, Stops};
use crate::publish::saved::Passed;

impl Run<'_> {
    pub(super) fn bad_line(&mut self, line: Line) {
        if let Err(bad) = &line.event {
            let fails = self.settings.stop_at_bad_line;
            self.report
                .bad_line(&line.location, bad, line.raw.len(), fails);
        }
        // The content of a line that was too long is not kept. A break stays in its file, and each start finds it again.
        let ends_command = matches!(&line.event, Err(bad) if bad.stops == Stops::Command);
        let is_kept = line.raw.is_empty() || ends_command || self.reject(&line.raw);
        // The position passes the line after the last line before it, and never passes one that is not kept.
        let passed = self.saved.passed(line.checkpoint).filter(|_| is_kept);
        match self.in_flight.back_mut() {
            Some(last) => last.pass(passed),
            None => self.saved.advance(passed),
        }
        let stops = line.event.map_or_else(|bad| bad.stops, |_| Stops::Nothing);
        let is_end = match stops {
            Stops::Choice | Stops::FileByChoice => self.settings.stop_at_bad_line,
            Stops::Nothing => false,
            Stops::Command => true,
        };
        if is_end && is_kept {
            self.ending = Ending::Failed;
            // The line would be bad again: resume behind it, unless nothing behind it can be read before it is corrected.
            self.resume = Some(match stops {
                Stops::Choice | Stops::Nothing => line.location.next(),
                Stops::FileByChoice | Stops::Command => line.location,
            });
        } else if !is_kept {
            self.resume = Some(line.location);
        }
    }

    /// Records the result of the oldest line in flight. A pipeline that `is_stopped` sends nothing again.
    pub(super) fn record(&mut self, result: Result<Delivery, EmitError>, is_stopped: bool) {
        let Some(InFlight {
            location,
            raw,
            passed,
            behind,
        }) = self.in_flight.pop_front()
        else {
            return;
        };
        let error = match result {
            Ok(delivery) => {
                self.report.stored(&delivery, raw.len());
                self.advance(passed, behind);
                return;
            }
            Err(error) => error,
        };
        let unknown = error.known() == Known::OutcomeUnknown;
        match error.scope() {
            Scope::Broker => self.give_up(Ending::Unreachable, location, &error, unknown),
            Scope::Local => self.give_up(Ending::Unspooled, location, &error, unknown),
            // It might have been sent again, as by the next run.
            scope if is_stopped && (scope == Scope::Subject || is_id_taken(&error)) => {
                self.give_up(self.ending, location, &error, unknown);
            }
            Scope::Event | Scope::Subject => {
                self.report.failed(&location, &error, unknown);
                let kept = self.saved.refuse(&raw);
                self.written(kept);
                self.advance(passed, behind);
                let max = self.settings.max_failures;
                if max > 0 && self.report.failures() == max && self.ending == Ending::Complete {
                    self.report.too_many_failures(max);
                    self.ending = Ending::Failed;
                }
            }
        }
    }

    fn advance(&mut self, passed: Option<Passed>, behind: Vec<Passed>) {
        for passed in passed.into_iter().chain(behind) {
            self.saved.advance(Some(passed));
        }
    }

    /// Ends the run at a line that is not at fault.
    fn give_up(&mut self, end: Ending, location: LineLocation, error: &EmitError, unknown: bool) {
        match self.ending {
            Ending::Complete | Ending::Failed => self.ending = end,
            // The first reason has stopped the pipeline.
            Ending::Unreachable | Ending::Unspooled | Ending::Interrupted(_) => {}
        }
        // A bad line may have set a later location.
        let is_earlier = self.resume.as_ref().is_none_or(|resume| {
            (location.index, location.number()) < (resume.index, resume.number())
        });
        if is_earlier {
            self.report.gave_up(&location, error);
            self.resume = Some(location);
        }
        self.saved.has_unsent = true;
        self.report.not_reached(unknown);
    }

    /// Keeps a bad line in the file of `--rejected`. Returns `false`, and ends the reading, if that fails.
    fn reject(&mut self, raw: &[u8]) -> bool {
        let kept = self.saved.reject(raw);
        self.written(kept)
    }

    pub(super) fn save_position(&mut self) {
        let saved = self.saved.save_position();
        self.written(saved);
    }

    /// Ends the reading if a file of the run could not be written. Lines in flight still have results.
    pub(super) fn written(&mut self, written: Result<(), Failure>) -> bool {
        let Err(failure) = written else { return true };
        if !std::mem::replace(&mut self.is_unwritten, true) {
            self.report.note(&failure.to_string());
        }
        if self.ending == Ending::Complete {
            self.ending = Ending::Failed;
        }
        false
    }
}

/// Whether another event has the message id. A pipeline that runs sends the event again under a new one.
fn is_id_taken(error: &EmitError) -> bool {
    matches!(error, EmitError::Failed(failed)
        if matches!(failed.error, PublishError::MessageIdTaken { .. }))
}
