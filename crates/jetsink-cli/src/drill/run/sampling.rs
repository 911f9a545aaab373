//! Samples of a run: recorded each tick, and drawn on a terminal.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::timeline::moment;
use super::{DrillRun, TICK};
use crate::drill::contender::{Contender, Tick};
use crate::drill::record::CircuitState;
use crate::drill::recorder::Recorder;
use crate::drill::view::{Frame, Row, View};

/// The number of ticks for the rates and times in the view.
const WINDOW: usize = 10;

impl DrillRun {
    /// Takes a sample each tick; never returns.
    pub(super) async fn sample(&self, recorder: &mut Recorder, end: Duration, observes: bool) {
        let mut view = self.has_view.get().then(View::new);
        let mut due = interval(TICK);
        let mut latest: VecDeque<Vec<Tick>> = VecDeque::new();
        let stored = RefCell::new(vec![None; self.contenders.len()]);
        let record = async {
            loop {
                due.tick().await;
                let ticks: Vec<Tick> = self
                    .contenders
                    .iter()
                    .map(|contender| contender.tick())
                    .collect();
                if observes {
                    self.observe(&ticks);
                }
                if let Some(view) = &mut view {
                    let timeline = self.timeline.borrow();
                    let at = self.started.elapsed();
                    let now = match &timeline.fault {
                        Some((name, since)) => {
                            format!("{name}, for {}", moment(at.saturating_sub(*since)))
                        }
                        None => "the broker is whole".to_owned(),
                    };
                    view.show(&Frame {
                        at,
                        end,
                        now,
                        contenders: rows(&self.contenders, &latest, &ticks),
                        notes: timeline.notes.clone(),
                    });
                }
                let stored = stored.borrow().iter().copied().collect::<Vec<_>>();
                let samples = ticks.iter().cloned().zip(stored).collect();
                recorder.record(self.started.elapsed(), samples);
                latest.push_back(ticks);
                if latest.len() > WINDOW {
                    latest.pop_front();
                }
            }
        };
        let ask = async {
            let mut counts = vec![Counted::default(); self.contenders.len()];
            loop {
                sleep(TICK).await;
                // Others may publish to a given broker's stream: its last sequence means nothing.
                if observes {
                    continue;
                }
                for (contender, stream) in self.streams.iter().enumerate() {
                    let answer = timeout(TICK * 3, self.reader.admin().stream_info(stream)).await;
                    let info = answer.ok().and_then(Result::ok);
                    let last = info.and_then(|info| info["state"]["last_seq"].as_u64());
                    stored.borrow_mut()[contender] = last.map(|last| counts[contender].all(last));
                }
            }
        };
        tokio::join!(record, ask);
    }

    fn observe(&self, ticks: &[Tick]) {
        let open = ticks
            .iter()
            .any(|tick| tick.circuit == Some(CircuitState::Reconnecting));
        let is_open = self.timeline.borrow().fault.is_some();
        match (is_open, open) {
            (false, true) => self.fault_begins("not delivering"),
            (true, false) => self.fault_ends(),
            (true, true) | (false, false) => {}
        }
    }
}

/// The view's rows: rates and times of the latest ticks and this one.
fn rows(contenders: &[Arc<Contender>], latest: &VecDeque<Vec<Tick>>, ticks: &[Tick]) -> Vec<Row> {
    let seconds = (TICK * u32::try_from(latest.len().max(1)).unwrap_or(1)).as_secs_f64();
    let row = |(index, (contender, tick)): (usize, (&Arc<Contender>, &Tick))| {
        let before: Vec<&Tick> = latest.iter().filter_map(|ticks| ticks.get(index)).collect();
        let first = before.first().map_or(tick.emitted, |tick| tick.emitted);
        let recent = || before.iter().copied().chain([tick]);
        let mut times: Vec<Duration> = recent().flat_map(|tick| tick.latest.clone()).collect();
        times.sort_unstable();
        let longest = times
            .last()
            .copied()
            .max(recent().filter_map(|tick| tick.unfinished).max());
        Row {
            name: contender.name,
            per_second: (tick.emitted - first) as f64 / seconds,
            median: times.get(times.len() / 2).map(Duration::as_secs_f64),
            longest: longest.map(|time| time.as_secs_f64()),
            circuit: tick.circuit,
            spooled: tick.spooled,
            ok: tick.ok,
            failed: tick.failed,
        }
    };
    contenders.iter().zip(ticks).enumerate().map(row).collect()
}

/// Counts the messages that a stream has ever stored. The sequence of a stream that was deleted and
/// created again starts at 0; messages of the old one still count.
#[derive(Debug, Clone, Default)]
struct Counted {
    in_deleted: u64,
    last: u64,
}

impl Counted {
    fn all(&mut self, last: u64) -> u64 {
        if last < self.last {
            self.in_deleted += self.last;
        }
        self.last = last;
        self.in_deleted + last
    }
}
