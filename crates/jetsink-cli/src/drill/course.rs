//! A drill from its first event to the verdict: the load, the faults, the samples, all at a time.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jetsink::{Known, NatsPublisher, StreamName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::arguments::Drill;
use super::broker::Broker;
use super::event::{Events, Stored};
use super::lane::{Lane, Outlet};
use super::outcome::read_back;
use super::record::{About, Fault, Lane as RecordedLane, Record};
use super::recorder::Recorder;
use super::report::words::duration;
use super::script::{Kind, Script};
use super::verdict::{Evidence, Recovery, to_compare};
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Signals};
use crate::output;

mod sampling;

const TICK: Duration = Duration::from_millis(100);
/// A caller that gets no answer for so long after the end is not waited for.
const LAST_ANSWER: Duration = Duration::from_secs(15);
/// How long a lane is waited for at the least, until it delivers again; and a spool, until it is empty; and
/// the broker, until it tells what it holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a drill came to.
pub(super) struct Ended {
    pub(super) record: Record,
    /// What ended it early.
    pub(super) interrupt: Option<Interrupt>,
    /// Why it is not all that it was to be: a fault could not be begun or undone, or nobody could tell what
    /// the streams hold.
    pub(super) failure: Option<Failure>,
}

pub(super) struct Course {
    about: About,
    longest_emit: Duration,
    /// Unless the fault decides.
    recover_within: Option<Duration>,
    between: Duration,
    lanes: Vec<Arc<Lane>>,
    /// By lane; the same one for all where it is somebody else's.
    streams: Vec<StreamName>,
    /// The last message that was in the stream before the drill.
    behind: u64,
    reader: NatsPublisher,
    events: Events,
    interrupted: watch::Sender<bool>,
    /// Whether there is a view, which shows all that there is to say.
    shows: Cell<bool>,
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
    recoveries: Vec<Vec<Recovery>>,
    /// By lane: events that may have been deleted with their stream before anybody looked.
    excused: Vec<Vec<Range<u64>>>,
    /// What streams held that were deleted since.
    read: Vec<Stored>,
}

impl Happened {
    fn longest_fault(&self) -> Duration {
        let times = self.faults.iter().map(|fault| fault.until - fault.from);
        Duration::try_from_secs_f64(times.fold(0.0, f64::max)).unwrap_or_default()
    }
}

impl Course {
    pub(super) fn new(
        arguments: &Drill,
        about: About,
        lanes: Vec<Arc<Lane>>,
        streams: Vec<StreamName>,
        behind: u64,
        reader: NatsPublisher,
        events: Events,
    ) -> Self {
        let longest = arguments.deadline + Duration::from_millis(500);
        let happened = Happened {
            recoveries: vec![Vec::new(); lanes.len()],
            excused: vec![Vec::new(); lanes.len()],
            ..Happened::default()
        };
        Self {
            about,
            longest_emit: arguments.longest_emit.unwrap_or(longest),
            recover_within: arguments.recover_within,
            between: Duration::from_secs(1) / arguments.rate,
            lanes,
            streams,
            behind,
            reader,
            events,
            interrupted: watch::Sender::new(false),
            // Nobody can draw over a pipe.
            shows: Cell::new(
                arguments.progress.applies() && !arguments.quiet && std::io::stderr().is_terminal(),
            ),
            quiet: arguments.quiet,
            started: Instant::now(),
            happened: RefCell::new(happened),
        }
    }

    /// With the faults of a script.
    pub(super) async fn through(
        &self,
        script: &Script,
        mut broker: Broker,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let play = self.play(script, &mut broker);
        self.run(script.time(), false, play, signals).await
    }

    /// With the faults that somebody else causes.
    pub(super) async fn watching(
        &self,
        time: Duration,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let wait = async {
            self.goes_on_for(time).await;
            Ok(())
        };
        self.run(time, true, wait, signals).await
    }

    /// `play` ends early, and in good order, once it is interrupted.
    async fn run(
        &self,
        end: Duration,
        observes: bool,
        play: impl Future<Output = Result<(), Failure>>,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let (stop, stopped) = watch::channel(false);
        let mut load = JoinSet::new();
        for lane in &self.lanes {
            let (lane, stopped, between) = (Arc::clone(lane), stopped.clone(), self.between);
            load.spawn(async move { lane.load(between, stopped).await });
        }
        let mut recorder = Recorder::new(TICK, self.lanes.len());
        let course = async {
            let played = play.await;
            // It is heard as long as one caller is there.
            let _ = stop.send(true);
            let ended = async { while load.join_next().await.is_some() {} };
            let _ = timeout(LAST_ANSWER, ended).await;
            self.drain().await;
            played.err()
        };
        let record = async {
            let failure = tokio::select! {
                failure = course => failure,
                () = self.watch(&mut recorder, end, observes) => None,
            };
            self.finish(recorder, failure).await
        };
        let mut record = std::pin::pin!(record);
        let interrupt = tokio::select! {
            ended = &mut record => return Ok(ended),
            interrupt = signals.next() => interrupt,
        };
        self.note("interrupted: what was begun is brought to its end".to_owned());
        self.interrupted.send_replace(true);
        tokio::select! {
            ended = record => Ok(Ended { interrupt: Some(interrupt), ..ended }),
            interrupt = signals.next() => Err(Failure::Interrupted(interrupt)),
        }
    }

    /// False, and at once, if it is interrupted.
    async fn goes_on_for(&self, time: Duration) -> bool {
        let mut interrupted = self.interrupted.subscribe();
        // Its sender is ours.
        let interrupted = interrupted.wait_for(|interrupted| *interrupted);
        timeout(time, interrupted).await.is_err()
    }

    /// Faults are begun and undone whatever happens: only the time between them is cut short.
    async fn play(&self, script: &Script, broker: &mut Broker) -> Result<(), Failure> {
        let mut goes_on = self.goes_on_for(script.pause).await;
        for &fault in &script.faults {
            if !goes_on {
                break;
            }
            let name = fault.name(script.cluster);
            // Of what is gone nobody can say anything any more.
            let settled = match fault {
                Kind::Delete => Some(self.read_settled().await?),
                _ => None,
            };
            let since = Instant::now();
            self.begins(name);
            broker.begin(fault).await?;
            if let Some(settled) = settled {
                let mut happened = self.happened.borrow_mut();
                let lanes = self.lanes.iter().zip(settled).zip(&mut happened.excused);
                lanes.for_each(|((lane, settled), excused)| excused.push(settled..lane.begun()));
            }
            if !fault.is_momentary() {
                self.goes_on_for(script.outage).await;
            }
            broker.heal().await?;
            self.ends();
            let before: Vec<u64> = self.lanes.iter().map(|lane| lane.delivered()).collect();
            let told = fault.end_is_told() && !script.cluster;
            let bound = self.recover_within.unwrap_or(match told {
                true => Duration::from_secs(1),
                false => since.elapsed() + Duration::from_secs(1),
            });
            let recovered = async {
                let lanes = self.lanes.iter().zip(before);
                let again = lanes.map(|(lane, before)| delivers_again(lane, before, bound));
                self.recovered(name, &join_all(again).await, bound);
            };
            ((), goes_on) = tokio::join!(recovered, self.goes_on_for(script.pause));
        }
        Ok(())
    }

    /// Waits until the spools are empty, and keeps what the streams hold then. Gives by lane how many events
    /// that answers for.
    async fn read_settled(&self) -> Result<Vec<u64>, Failure> {
        self.drain().await;
        // One emit of each may be under way.
        let begun = self.lanes.iter().map(|lane| lane.begun().saturating_sub(1));
        let settled: Vec<u64> = begun.collect();
        let mut read = self.read_back().await?;
        read.retain(|stored| {
            settled
                .get(stored.lane)
                .is_some_and(|end| stored.number < *end)
        });
        self.happened.borrow_mut().read.append(&mut read);
        Ok(settled)
    }

    /// What of this drill the streams hold. Whoever reads need not be connected again yet.
    async fn read_back(&self) -> Result<Vec<Stored>, Failure> {
        let mut streams = self.streams.clone();
        streams.dedup();
        let mut all = Vec::new();
        for stream in streams {
            let give_up = Instant::now() + PATIENCE;
            let mut read = loop {
                match read_back(&self.reader, &stream, self.behind, &self.events).await {
                    Err(Failure::Read { error, .. })
                        if error.known() != Known::Refused && Instant::now() < give_up =>
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

    fn begins(&self, name: &str) {
        let at = self.started.elapsed();
        self.happened.borrow_mut().now = Some((name.to_owned(), at));
        self.note(format!("{}: {name}", moment(at)));
    }

    fn ends(&self) {
        if self.is_over() {
            self.note(format!("{}: whole again", moment(self.started.elapsed())));
        }
    }

    /// What goes on ends here, for the record. True if something did.
    fn is_over(&self) -> bool {
        let at = self.started.elapsed();
        let mut happened = self.happened.borrow_mut();
        let Some((name, from)) = happened.now.take() else {
            return false;
        };
        happened.faults.push(Fault {
            name,
            from: from.as_secs_f64(),
            until: at.as_secs_f64(),
        });
        true
    }

    fn recovered(&self, fault: &'static str, times: &[Option<Duration>], bound: Duration) {
        let mut happened = self.happened.borrow_mut();
        let mut told = Vec::new();
        for (&time, all) in times.iter().zip(&mut happened.recoveries) {
            all.push(Recovery { fault, time, bound });
            let text = |time: Duration| duration(time.as_secs_f64());
            told.push(time.map_or_else(|| "not yet".to_owned(), text));
        }
        drop(happened);
        self.note(format!("each delivers again after {}", told.join(", ")));
    }

    fn note(&self, text: String) {
        if !self.shows.get() && !self.quiet {
            output::note(&text);
        }
        self.happened.borrow_mut().past.push(text);
    }

    /// Waits for the spools. What is left then is told by the verdict.
    async fn drain(&self) {
        let empty = async {
            let left = |lane: &Arc<Lane>| lane.spooled().is_some_and(|events| events > 0);
            while self.lanes.iter().any(left) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // A subject is tried again after at most as long as it failed.
        let longest = self.happened.borrow().longest_fault();
        let _ = timeout(PATIENCE + longest, empty).await;
    }

    /// What was told, before anybody looks at what is stored.
    fn evidence(&self) -> (Vec<Fault>, Vec<Evidence>) {
        let happened = self.happened.borrow();
        let lanes = self
            .lanes
            .iter()
            .zip(&happened.excused)
            .zip(&happened.recoveries);
        let evidence = lanes.map(|((lane, excused), recoveries)| {
            let counts = lane.counts();
            let mut evidence = Evidence::new(counts.told);
            evidence.excused.clone_from(excused);
            evidence.longest = counts.longest;
            evidence.recoveries.clone_from(recoveries);
            evidence.left = lane.spooled();
            evidence
        });
        (happened.faults.clone(), evidence.collect())
    }

    /// The verdict, once nothing is under way any more.
    async fn finish(&self, mut recorder: Recorder, failure: Option<Failure>) -> Ended {
        if self.shows.take() {
            // The view is gone, and with it what it showed.
            let happened = self.happened.borrow();
            happened.past.iter().for_each(|text| output::note(text));
        }
        if self.is_over() {
            let wait = PATIENCE.as_secs();
            self.note(format!(
                "the broker is not whole: it has {wait} s to tell what it holds"
            ));
        }
        let (faults, mut evidence) = self.evidence();
        let before = std::mem::take(&mut self.happened.borrow_mut().read);
        // What was told, and how long it took, is known all the same.
        let (read, unread) = match self.read_back().await {
            Ok(read) => (read, None),
            Err(unread) => (Vec::new(), Some(unread)),
        };
        evidence
            .iter_mut()
            .for_each(|evidence| evidence.unread = unread.is_some());
        for stored in before.into_iter().chain(read) {
            if let Some(evidence) = evidence.get_mut(stored.lane) {
                evidence.stored(stored.number, stored.intact);
            }
        }
        // The samples end with what is known now.
        let last = self.lanes.iter().zip(&evidence);
        let last = last.map(|(lane, evidence)| {
            let stored = (!evidence.unread).then(|| evidence.ever_stored());
            (lane.tick(), stored)
        });
        recorder.record(self.started.elapsed(), last.collect());
        let mut about = self.about.clone();
        about.unread = unread.is_some();
        about.interrupted = *self.interrupted.borrow();
        about.seconds = self.started.elapsed().as_secs_f64();
        about.tick_seconds = recorder.tick_seconds();
        let lanes = self.lanes.iter().zip(evidence).zip(recorder.finish());
        let lanes = lanes.map(|((lane, evidence), samples)| {
            let checks = evidence.checks(self.longest_emit);
            RecordedLane {
                name: lane.name.to_owned(),
                samples,
                checks: match lane.outlet {
                    Outlet::Sink(_) => checks,
                    Outlet::Plain(_) => to_compare(checks),
                },
            }
        });
        Ended {
            record: Record {
                about,
                faults,
                lanes: lanes.collect(),
            },
            interrupt: None,
            failure: failure.or(unread),
        }
    }
}

/// How long until a lane delivers once more.
async fn delivers_again(lane: &Lane, before: u64, bound: Duration) -> Option<Duration> {
    let since = Instant::now();
    let again = async {
        while lane.delivered() <= before {
            sleep(Duration::from_millis(2)).await;
        }
        since.elapsed()
    };
    timeout(PATIENCE.max(bound), again).await.ok()
}

/// Such as `83.4 s`.
fn moment(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
