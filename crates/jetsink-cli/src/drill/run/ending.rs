//! The end of a run: empty spools, read the streams, compare.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{DrillRun, Ended, PATIENCE, TICK};
use crate::drill::contender::Contender;
use crate::drill::event::Stored;
use crate::drill::record::{ContenderRecord, Fault, Record};
use crate::drill::recorder::Recorder;
use crate::drill::streams;
use crate::drill::verdict::{Comparison, Evidence, to_compare};
use crate::failure::Failure;
use crate::output;

impl DrillRun {
    /// Waits until the spools are empty, then reads the streams. Returns by contender the number of
    /// events whose results are known.
    pub(super) async fn read_before_deletion(&self) -> Result<Vec<u64>, Failure> {
        self.drain().await;
        // One emit per contender may be in flight.
        let read_until = self
            .contenders
            .iter()
            .map(|contender| contender.begun().saturating_sub(1));
        let read_until: Vec<u64> = read_until.collect();
        let mut read = self.read_back().await?;
        read.retain(|stored| {
            read_until
                .get(stored.contender)
                .is_some_and(|end| stored.number < *end)
        });
        self.timeline.borrow_mut().read.append(&mut read);
        Ok(read_until)
    }

    /// Reads this drill's events from the streams; waits for the reader's connection.
    async fn read_back(&self) -> Result<Vec<Stored>, Failure> {
        let mut streams = self.streams.clone();
        streams.dedup();
        let mut all = Vec::new();
        for stream in streams {
            let give_up = Instant::now() + PATIENCE;
            let mut read = loop {
                match streams::read_back(&self.reader, &stream, self.last_before, &self.events)
                    .await
                {
                    Err(Failure::Read { error, .. })
                        if !error.is_refusal() && Instant::now() < give_up =>
                    {
                        sleep(TICK).await;
                    }
                    read => break read?,
                }
            };
            all.append(&mut read);
        }
        Ok(all)
    }

    /// Waits until the spools are empty. The verdict reports the events that are left.
    pub(super) async fn drain(&self) {
        let empty = async {
            let left =
                |contender: &Arc<Contender>| contender.spooled().is_some_and(|events| events > 0);
            while self.contenders.iter().any(left) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // The wait before a subject's next retry is at most as long as its failure.
        let longest = self.timeline.borrow().longest_fault();
        let _ = timeout(PATIENCE + longest, empty).await;
    }

    /// The results of all emits, before the streams are read.
    fn evidence(&self) -> (Vec<Fault>, Vec<Evidence>) {
        let timeline = self.timeline.borrow();
        let contenders = self
            .contenders
            .iter()
            .zip(&timeline.excused)
            .zip(&timeline.recoveries);
        let evidence = contenders.map(|((contender, excused), recoveries)| {
            let counts = contender.counts();
            Evidence {
                results: counts.results,
                excused: excused.clone(),
                longest: counts.longest,
                recoveries: recoveries.clone(),
                left: contender.spooled(),
                unread: false,
            }
        });
        (timeline.faults.clone(), evidence.collect())
    }

    /// Reads the streams and makes the record.
    pub(super) async fn finish(&self, mut recorder: Recorder, failure: Option<Failure>) -> Ended {
        if self.has_view.take() {
            // The view has been cleared: print its notes.
            let timeline = self.timeline.borrow();
            timeline.notes.iter().for_each(|text| output::note(text));
        }
        if self.record_fault() {
            let wait = PATIENCE.as_secs();
            self.note(format!(
                "the broker is not whole: waiting up to {wait} s to read its streams"
            ));
        }
        let (faults, evidence) = self.evidence();
        let before = std::mem::take(&mut self.timeline.borrow_mut().read);
        // Without the streams the record still contains the results and times of the emits.
        let (read, unread) = match self.read_back().await {
            Ok(read) => (read, None),
            Err(unread) => (Vec::new(), Some(unread)),
        };
        let numbered = evidence.into_iter().enumerate();
        let compared = numbered.map(|(contender, mut evidence)| {
            evidence.unread = unread.is_some();
            let stored = before.iter().chain(&read);
            let stored = stored.filter(|stored| stored.contender == contender);
            evidence.compare(stored.map(|stored| (stored.number, stored.intact)))
        });
        let compared: Vec<Comparison> = compared.collect();
        // One last sample.
        let last = self.contenders.iter().zip(&compared);
        let last = last.map(|(contender, compared)| (contender.tick(), compared.ever_stored()));
        recorder.record(self.started.elapsed(), last.collect());
        let mut about = self.about.clone();
        about.unread = unread.is_some();
        about.interrupted = *self.interrupted.borrow();
        about.seconds = self.started.elapsed().as_secs_f64();
        about.tick_seconds = recorder.tick_seconds();
        let contenders = self.contenders.iter().zip(compared).zip(recorder.finish());
        let contenders = contenders.map(|((contender, compared), samples)| {
            let checks = compared.checks(self.longest_emit);
            ContenderRecord {
                name: contender.name.to_owned(),
                samples,
                checks: match contender.target.makes_promises() {
                    true => checks,
                    false => to_compare(checks),
                },
            }
        });
        Ended {
            record: Record {
                about,
                faults,
                contenders: contenders.collect(),
            },
            interrupt: None,
            failure: failure.or(unread),
        }
    }
}
