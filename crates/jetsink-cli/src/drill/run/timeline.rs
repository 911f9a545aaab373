//! The faults, recoveries and notes of a run so far.

use std::ops::Range;
use std::time::Duration;

use super::DrillRun;
use crate::drill::event::Stored;
use crate::drill::format::duration;
use crate::drill::record::Fault;
use crate::drill::verdict::Recovery;
use crate::output;

pub(super) struct Timeline {
    /// The current fault and its beginning.
    pub(super) fault: Option<(String, Duration)>,
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<String>,
    /// By contender.
    pub(super) recoveries: Vec<Vec<Recovery>>,
    /// By contender: events that may have been stored in a stream after it was read and before it was
    /// deleted.
    pub(super) excused: Vec<Vec<Range<u64>>>,
    /// The events of streams that were deleted since.
    pub(super) read: Vec<Stored>,
}

impl Timeline {
    pub(super) fn new(contenders: usize) -> Self {
        Self {
            fault: None,
            faults: Vec::new(),
            notes: Vec::new(),
            recoveries: vec![Vec::new(); contenders],
            excused: vec![Vec::new(); contenders],
            read: Vec::new(),
        }
    }

    pub(super) fn longest_fault(&self) -> Duration {
        let times = self.faults.iter().map(|fault| fault.until - fault.from);
        Duration::try_from_secs_f64(times.fold(0.0, f64::max)).unwrap_or_default()
    }
}

impl DrillRun {
    pub(super) fn fault_begins(&self, name: &str) {
        let at = self.started.elapsed();
        self.timeline.borrow_mut().fault = Some((name.to_owned(), at));
        self.note(format!("{}: {name}", moment(at)));
    }

    pub(super) fn fault_ends(&self) {
        if self.record_fault() {
            self.note(format!("{}: whole again", moment(self.started.elapsed())));
        }
    }

    /// Records the current fault with its end. Returns whether there was one.
    pub(super) fn record_fault(&self) -> bool {
        let at = self.started.elapsed();
        let mut timeline = self.timeline.borrow_mut();
        let Some((name, from)) = timeline.fault.take() else {
            return false;
        };
        timeline.faults.push(Fault {
            name,
            from: from.as_secs_f64(),
            until: at.as_secs_f64(),
        });
        true
    }

    /// Records the recovery times, by contender.
    pub(super) fn recovered(
        &self,
        fault: &'static str,
        times: &[Option<Duration>],
        bound: Duration,
    ) {
        let mut timeline = self.timeline.borrow_mut();
        let mut texts = Vec::new();
        for (&time, all) in times.iter().zip(&mut timeline.recoveries) {
            all.push(Recovery { fault, time, bound });
            let text = |time: Duration| duration(time.as_secs_f64());
            texts.push(time.map_or_else(|| "not yet".to_owned(), text));
        }
        drop(timeline);
        self.note(format!("each delivers again after {}", texts.join(", ")));
    }

    pub(super) fn note(&self, text: String) {
        if !self.has_view.get() && !self.quiet {
            output::note(&text);
        }
        self.timeline.borrow_mut().notes.push(text);
    }
}

/// Such as `83.4 s`.
pub(super) fn moment(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
