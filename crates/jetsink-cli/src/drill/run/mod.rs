//! One run of a drill: load, faults and samples at the same time, then the verdict.

mod ending;
mod faults;
mod sampling;
mod timeline;

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{NatsPublisher, StreamName};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::arguments::Drill;
use super::broker::Broker;
use super::contender::Contender;
use super::event::Events;
use super::record::{About, Record};
use super::recorder::Recorder;
use super::script::Script;
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Signals};
use timeline::Timeline;

/// The time between two samples.
const TICK: Duration = Duration::from_millis(100);
/// The longest wait, after the load has ended, for an emit without a result.
const LAST_RESULT: Duration = Duration::from_secs(15);
/// The longest wait for a contender to deliver again, for a spool to empty, and for the broker to
/// answer which events it has stored.
const PATIENCE: Duration = Duration::from_secs(30);

/// The result of a drill.
pub(super) struct Ended {
    pub(super) record: Record,
    /// The signal that ended it early.
    pub(super) interrupt: Option<Interrupt>,
    /// The reason why it is incomplete: a fault could not be caused or healed, or the streams could not
    /// be read.
    pub(super) failure: Option<Failure>,
}

pub(super) struct DrillRun {
    about: About,
    longest_emit: Duration,
    /// `None`: the fault decides.
    recover_within: Option<Duration>,
    /// The time between two emits of a contender.
    interval: Duration,
    contenders: Vec<Arc<Contender>>,
    /// By contender; the same one for all on a given broker.
    streams: Vec<StreamName>,
    /// The stream's last sequence before the drill.
    last_before: u64,
    reader: NatsPublisher,
    events: Events,
    interrupted: watch::Sender<bool>,
    /// Whether a view is drawn: then notes are not printed.
    has_view: Cell<bool>,
    quiet: bool,
    started: Instant,
    timeline: RefCell<Timeline>,
}

impl DrillRun {
    pub(super) fn new(
        arguments: &Drill,
        about: About,
        contenders: Vec<Arc<Contender>>,
        streams: Vec<StreamName>,
        last_before: u64,
        reader: NatsPublisher,
        events: Events,
    ) -> Self {
        let longest = arguments.deadline + Duration::from_millis(500);
        let timeline = Timeline::new(contenders.len());
        Self {
            about,
            longest_emit: arguments.longest_emit.unwrap_or(longest),
            recover_within: arguments.recover_within,
            interval: Duration::from_secs(1) / arguments.rate,
            contenders,
            streams,
            last_before,
            reader,
            events,
            interrupted: watch::Sender::new(false),
            // A view needs a terminal.
            has_view: Cell::new(
                arguments.progress.applies() && !arguments.quiet && std::io::stderr().is_terminal(),
            ),
            quiet: arguments.quiet,
            started: Instant::now(),
            timeline: RefCell::new(timeline),
        }
    }

    /// Runs with the faults of a script.
    pub(super) async fn with_script(
        &self,
        script: &Script,
        mut broker: Broker,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let play = self.play(script, &mut broker);
        self.run(script.time(), false, play, signals).await
    }

    /// Runs for some time and observes the faults of a given broker.
    pub(super) async fn without_script(
        &self,
        time: Duration,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let wait = async {
            self.wait(time).await;
            Ok(())
        };
        self.run(time, true, wait, signals).await
    }

    /// A signal ends `play` early; the verdict follows. A second signal ends the run.
    async fn run(
        &self,
        end: Duration,
        observes: bool,
        play: impl Future<Output = Result<(), Failure>>,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let (stop, stopped) = watch::channel(false);
        let mut load = JoinSet::new();
        for contender in &self.contenders {
            let (contender, stopped) = (Arc::clone(contender), stopped.clone());
            let interval = self.interval;
            load.spawn(async move { contender.load(interval, stopped).await });
        }
        let mut recorder = Recorder::new(TICK, self.contenders.len());
        let play = async {
            let played = play.await;
            // Fails only if no caller is left.
            let _ = stop.send(true);
            let ended = async { while load.join_next().await.is_some() {} };
            let _ = timeout(LAST_RESULT, ended).await;
            self.drain().await;
            played.err()
        };
        let record = async {
            let failure = tokio::select! {
                failure = play => failure,
                () = self.sample(&mut recorder, end, observes) => None,
            };
            self.finish(recorder, failure).await
        };
        let mut record = std::pin::pin!(record);
        let interrupt = tokio::select! {
            ended = &mut record => return Ok(ended),
            interrupt = signals.next() => interrupt,
        };
        self.note("interrupted: healing the current fault, then the verdict".to_owned());
        self.interrupted.send_replace(true);
        tokio::select! {
            ended = record => Ok(Ended { interrupt: Some(interrupt), ..ended }),
            interrupt = signals.next() => Err(Failure::Interrupted(interrupt)),
        }
    }

    /// Waits. Returns `false`, and at once, if the run is interrupted.
    async fn wait(&self, time: Duration) -> bool {
        let mut interrupted = self.interrupted.subscribe();
        // The sender lives as long as `self`.
        let interrupted = interrupted.wait_for(|interrupted| *interrupted);
        timeout(time, interrupted).await.is_err()
    }
}
