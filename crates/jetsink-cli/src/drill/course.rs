//! A drill from its first event to the verdict: the load, the faults, the samples, all at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jetsink::NatsPublisher;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use super::arguments::Drill;
use super::broker::Broker;
use super::event::Events;
use super::lane::{Lane, Outlet, Tick};
use super::outcome::read_back;
use super::record::{About, CircuitState, Fault, Lane as RecordedLane, Record};
use super::recorder::Recorder;
use super::report::words::duration;
use super::script::Script;
use super::verdict::{Bounds, Evidence, to_compare};
use super::view::{Frame, Row, View};
use crate::interrupt::{Interrupt, Signals};
use crate::output;
use crate::settings::Failure;

const TICK: Duration = Duration::from_millis(100);
/// The view shows what happened within so many ticks.
const SHOWN: usize = 10;
/// A caller that gets no answer for so long after the end is not waited for.
const LAST_ANSWER: Duration = Duration::from_secs(15);
/// How long a lane may take to deliver again, and a spool to empty, until the drill goes on.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Course {
    about: About,
    bounds: Bounds,
    between: Duration,
    lanes: Vec<Arc<Lane>>,
    /// By lane; the same one for all where it is somebody else's.
    streams: Vec<String>,
    reader: NatsPublisher,
    shows: bool,
    quiet: bool,
    started: Instant,
    happened: RefCell<Happened>,
}

/// What happened so far.
#[derive(Default)]
struct Happened {
    /// What goes on, and since when.
    now: Option<(String, Duration)>,
    faults: Vec<Fault>,
    past: Vec<String>,
    /// By lane.
    recovered: Vec<Vec<(String, Option<Duration>)>>,
    /// By lane: events before this number may have been deleted with their stream.
    excused: Vec<u64>,
}

impl Course {
    pub(super) fn new(
        arguments: &Drill,
        about: About,
        lanes: Vec<Arc<Lane>>,
        streams: Vec<String>,
        reader: NatsPublisher,
    ) -> Self {
        let longest = arguments.deadline + Duration::from_millis(500);
        let within = Duration::from_secs(if arguments.cluster { 10 } else { 1 });
        let is_ours = about.servers > 0;
        let happened = Happened {
            recovered: vec![Vec::new(); lanes.len()],
            excused: vec![0; lanes.len()],
            ..Happened::default()
        };
        Self {
            about,
            bounds: Bounds {
                longest_emit: arguments.longest_emit.unwrap_or(longest),
                recover_within: is_ours.then(|| arguments.recover_within.unwrap_or(within)),
            },
            between: Duration::from_secs(1) / arguments.rate,
            lanes,
            streams,
            reader,
            shows: arguments.progress.applies() && !arguments.quiet,
            quiet: arguments.quiet,
            started: Instant::now(),
            happened: RefCell::new(happened),
        }
    }

    /// With the faults of a script.
    pub(super) async fn through(
        self,
        script: Script,
        broker: Broker,
        events: Events,
    ) -> Result<(Record, Option<Interrupt>), Failure> {
        let end = script.time();
        let broker = tokio::sync::Mutex::new(broker);
        let play = async || self.play(&script, &mut *broker.lock().await).await;
        // Whatever was done when it was interrupted.
        let heal = async || broker.lock().await.heal().await;
        self.run(end, false, play, heal, &events).await
    }

    /// With the faults that somebody else causes.
    pub(super) async fn watching(
        self,
        time: Duration,
        events: Events,
    ) -> Result<(Record, Option<Interrupt>), Failure> {
        let wait = async || {
            sleep(time).await;
            Ok(())
        };
        self.run(time, true, wait, async || Ok(()), &events).await
    }

    async fn run(
        &self,
        end: Duration,
        observes: bool,
        play: impl AsyncFn() -> Result<(), Failure>,
        heal: impl AsyncFn() -> Result<(), Failure>,
        events: &Events,
    ) -> Result<(Record, Option<Interrupt>), Failure> {
        let mut signals = Signals::new()?;
        let (stop, stopped) = watch::channel(false);
        let mut load = JoinSet::new();
        for lane in &self.lanes {
            let (lane, stopped, between) = (Arc::clone(lane), stopped.clone(), self.between);
            load.spawn(async move { lane.load(between, stopped).await });
        }
        let mut recorder = Recorder::new(TICK, self.lanes.len());
        let course = async {
            let interrupt = tokio::select! {
                played = play() => played.map(|()| None)?,
                interrupt = signals.next() => Some(interrupt),
            };
            if interrupt.is_some() {
                self.note("interrupted: what was begun is brought to its end".to_owned());
            }
            let rest = async {
                if interrupt.is_some() {
                    heal().await?;
                }
                // It is heard as long as one caller is there.
                let _ = stop.send(true);
                let _ = timeout(LAST_ANSWER, async {
                    while load.join_next().await.is_some() {}
                })
                .await;
                self.drain().await;
                Ok(interrupt)
            };
            tokio::select! {
                interrupt = rest => interrupt,
                interrupt = signals.next() => Err(Failure::Interrupted(interrupt)),
            }
        };
        let interrupt = tokio::select! {
            interrupt = course => interrupt?,
            () = self.watch(&mut recorder, end, observes) => None,
        };
        let record = self.finish(recorder, events).await?;
        Ok((record, interrupt))
    }

    async fn play(&self, script: &Script, broker: &mut Broker) -> Result<(), Failure> {
        sleep(script.pause).await;
        for &fault in &script.faults {
            let name = fault.name(script.cluster);
            self.begins(name);
            let gone = || {
                let mut happened = self.happened.borrow_mut();
                happened.excused = self.lanes.iter().map(|lane| lane.begun()).collect();
            };
            broker.begin(fault, gone).await?;
            if !fault.is_momentary() {
                sleep(script.outage).await;
            }
            broker.heal().await?;
            self.ends();
            let before: Vec<u64> = self.lanes.iter().map(|lane| lane.delivered()).collect();
            let lanes = self.lanes.iter().zip(before);
            let again = lanes.map(|(lane, before)| delivers_again(lane, before));
            let (recovered, ()) = tokio::join!(join_all(again), sleep(script.pause));
            self.recovered(name, &recovered);
        }
        Ok(())
    }

    /// Takes a sample each tick, for ever.
    async fn watch(&self, recorder: &mut Recorder, end: Duration, observes: bool) {
        let mut view = self.shows.then(View::new);
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
                    view.show(&self.frame(end, &latest, &ticks));
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
                    let answer = timeout(TICK * 3, self.reader.stream_info(stream)).await;
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

    fn begins(&self, name: &str) {
        let at = self.started.elapsed();
        self.happened.borrow_mut().now = Some((name.to_owned(), at));
        self.note(format!("{}: {name}", moment(at)));
    }

    fn ends(&self) {
        let at = self.started.elapsed();
        let mut happened = self.happened.borrow_mut();
        if let Some((name, from)) = happened.now.take() {
            happened.faults.push(Fault {
                name,
                from: from.as_secs_f64(),
                until: at.as_secs_f64(),
            });
            drop(happened);
            self.note(format!("{}: whole again", moment(at)));
        }
    }

    fn recovered(&self, name: &str, times: &[Option<Duration>]) {
        let mut happened = self.happened.borrow_mut();
        let mut told = Vec::new();
        for ((lane, time), all) in self.lanes.iter().zip(times).zip(&mut happened.recovered) {
            all.push((name.to_owned(), *time));
            let time =
                time.map_or_else(|| "not yet".to_owned(), |time| duration(time.as_secs_f64()));
            told.push(format!("{} {time}", lane.name));
        }
        drop(happened);
        self.note(format!("delivers again: {}", told.join(", ")));
    }

    fn note(&self, text: String) {
        if !self.shows && !self.quiet {
            output::note(&text);
        }
        self.happened.borrow_mut().past.push(text);
    }

    fn frame(&self, end: Duration, latest: &VecDeque<Vec<Tick>>, ticks: &[Tick]) -> Frame {
        let happened = self.happened.borrow();
        let at = self.started.elapsed();
        let now = match &happened.now {
            Some((name, since)) => format!("{name}, for {}", moment(at.saturating_sub(*since))),
            None => "all is well with the broker".to_owned(),
        };
        let row = |(index, (lane, tick)): (usize, (&Arc<Lane>, &Tick))| {
            let before = latest.iter().filter_map(|ticks| ticks.get(index));
            let first = before
                .clone()
                .next()
                .map_or(tick.emitted, |tick| tick.emitted);
            let seconds = (TICK * u32::try_from(latest.len().max(1)).unwrap_or(1)).as_secs_f64();
            let recent = before.chain([tick]);
            let mut times: Vec<Duration> = recent
                .clone()
                .flat_map(|tick| tick.latest.clone())
                .collect();
            times.sort_unstable();
            let longest = times
                .last()
                .copied()
                .max(recent.filter_map(|tick| tick.waits).max());
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
        Frame {
            at,
            end,
            now,
            lanes: self.lanes.iter().zip(ticks).enumerate().map(row).collect(),
            past: happened.past.clone(),
        }
    }

    async fn drain(&self) {
        let empty = async {
            while self
                .lanes
                .iter()
                .any(|lane| lane.spooled().is_some_and(|events| events > 0))
            {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // What is left then is told by the verdict.
        let _ = timeout(PATIENCE, empty).await;
    }

    /// What was told, before anybody looks at what is stored.
    fn evidence(&self) -> (Vec<Fault>, Vec<Evidence>) {
        let happened = self.happened.borrow();
        let lanes = self
            .lanes
            .iter()
            .zip(&happened.excused)
            .zip(&happened.recovered);
        let evidence = lanes.map(|((lane, excused), recovered)| {
            let counts = lane.counts();
            let mut evidence = Evidence::new(counts.told);
            evidence.excused = *excused;
            evidence.longest = counts.longest;
            evidence.recovered.clone_from(recovered);
            evidence.left = lane.spooled();
            evidence
        });
        (happened.faults.clone(), evidence.collect())
    }

    /// The verdict, once nothing is under way any more.
    async fn finish(&self, recorder: Recorder, events: &Events) -> Result<Record, Failure> {
        self.ends();
        let (faults, mut evidence) = self.evidence();
        let mut streams = self.streams.clone();
        streams.dedup();
        for stream in &streams {
            let read = read_back(&self.reader, stream, events, &mut evidence).await;
            read.map_err(|error| Failure::Read {
                stream: stream.clone(),
                error,
            })?;
        }
        let mut about = self.about.clone();
        about.seconds = self.started.elapsed().as_secs_f64();
        about.tick_seconds = recorder.tick_seconds();
        let lanes = self.lanes.iter().zip(evidence).zip(recorder.finish());
        let lanes = lanes.map(|((lane, evidence), samples)| {
            let checks = evidence.checks(self.bounds);
            RecordedLane {
                name: lane.name.to_owned(),
                samples,
                checks: match lane.outlet {
                    Outlet::Sink(_) => checks,
                    Outlet::Plain(_) => to_compare(checks),
                },
            }
        });
        Ok(Record {
            about,
            faults,
            lanes: lanes.collect(),
        })
    }
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

/// How long until a lane delivers once more.
async fn delivers_again(lane: &Lane, before: u64) -> Option<Duration> {
    let since = Instant::now();
    let again = async {
        while lane.delivered() <= before {
            sleep(Duration::from_millis(2)).await;
        }
        since.elapsed()
    };
    timeout(PATIENCE, again).await.ok()
}

/// Such as `83.4 s`.
fn moment(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
