//! What is seen of a drill while it runs: samples to keep, and what a terminal shows.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::{Course, TICK, moment};
use crate::drill::lane::{Lane, Tick};
use crate::drill::record::CircuitState;
use crate::drill::recorder::Recorder;
use crate::drill::view::{Frame, Row, View};

/// The view shows what happened within so many ticks.
const SHOWN: usize = 10;

impl Course {
    /// Takes a sample each tick, for ever.
    pub(super) async fn watch(&self, recorder: &mut Recorder, end: Duration, observes: bool) {
        let mut view = self.shows.get().then(View::new);
        let mut due = interval(TICK);
        let mut latest: VecDeque<Vec<Tick>> = VecDeque::new();
        let stored = RefCell::new(vec![None; self.lanes.len()]);
        let record = async {
            loop {
                due.tick().await;
                let ticks: Vec<Tick> = self.lanes.iter().map(|lane| lane.tick()).collect();
                if observes {
                    self.observe(&ticks);
                }
                if let Some(view) = &mut view {
                    let happened = self.happened.borrow();
                    let at = self.started.elapsed();
                    let now = match &happened.now {
                        Some((name, since)) => {
                            format!("{name}, for {}", moment(at.saturating_sub(*since)))
                        }
                        None => "all is well with the broker".to_owned(),
                    };
                    view.show(&Frame {
                        at,
                        end,
                        now,
                        lanes: rows(&self.lanes, &latest, &ticks),
                        past: happened.past.clone(),
                    });
                }
                let stored = stored.borrow().iter().copied().collect::<Vec<_>>();
                let samples = ticks.iter().cloned().zip(stored).collect();
                recorder.record(self.started.elapsed(), samples);
                latest.push_back(ticks);
                if latest.len() > SHOWN {
                    latest.pop_front();
                }
            }
        };
        let ask = async {
            let mut counts = vec![Counted::default(); self.lanes.len()];
            loop {
                sleep(TICK).await;
                // Of a stream that others use, too, the number of its messages says nothing.
                if observes {
                    continue;
                }
                for (lane, stream) in self.streams.iter().enumerate() {
                    let answer = timeout(TICK * 3, self.reader.admin().stream_info(stream)).await;
                    let info = answer.ok().and_then(Result::ok);
                    let last = info.and_then(|info| info["state"]["last_seq"].as_u64());
                    stored.borrow_mut()[lane] = last.map(|last| counts[lane].all(last));
                }
            }
        };
        tokio::join!(record, ask);
    }

    fn observe(&self, ticks: &[Tick]) {
        let open = ticks
            .iter()
            .any(|tick| tick.circuit == Some(CircuitState::Reconnecting));
        let is_open = self.happened.borrow().now.is_some();
        match (is_open, open) {
            (false, true) => self.begins("not delivering"),
            (true, false) => self.ends(),
            (true, true) | (false, false) => {}
        }
    }
}

/// What is shown of each lane: what happened in the latest ticks, and in this one.
fn rows(lanes: &[Arc<Lane>], latest: &VecDeque<Vec<Tick>>, ticks: &[Tick]) -> Vec<Row> {
    let seconds = (TICK * u32::try_from(latest.len().max(1)).unwrap_or(1)).as_secs_f64();
    let row = |(index, (lane, tick)): (usize, (&Arc<Lane>, &Tick))| {
        let before: Vec<&Tick> = latest.iter().filter_map(|ticks| ticks.get(index)).collect();
        let first = before.first().map_or(tick.emitted, |tick| tick.emitted);
        let recent = || before.iter().copied().chain([tick]);
        let mut times: Vec<Duration> = recent().flat_map(|tick| tick.latest.clone()).collect();
        times.sort_unstable();
        let longest = times
            .last()
            .copied()
            .max(recent().filter_map(|tick| tick.waits).max());
        Row {
            name: lane.name,
            per_second: (tick.emitted - first) as f64 / seconds,
            median: times.get(times.len() / 2).map(Duration::as_secs_f64),
            longest: longest.map(|time| time.as_secs_f64()),
            circuit: tick.circuit,
            spooled: tick.spooled,
            ok: tick.ok,
            failed: tick.failed,
        }
    };
    lanes.iter().zip(ticks).enumerate().map(row).collect()
}

/// What a stream has stored. One that was deleted and made anew counts from 0: what was in the old one is
/// still counted.
#[derive(Debug, Clone, Default)]
struct Counted {
    in_old_ones: u64,
    last: u64,
}

impl Counted {
    fn all(&mut self, last: u64) -> u64 {
        if last < self.last {
            self.in_old_ones += self.last;
        }
        self.last = last;
        self.in_old_ones + last
    }
}
