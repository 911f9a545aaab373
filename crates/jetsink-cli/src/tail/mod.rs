//! `jetsink tail`: a stream's events as people read them, as they are stored or from before.

pub(crate) mod arguments;
mod content;
mod filter;
mod follower;
mod history;
mod line;
mod screen;
mod text;

use std::time::{Duration, SystemTime};

use jetsink::{ConnectSettings, NatsPublisher, StreamName, StreamStart};

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output;
use crate::runtime::runtime;
use arguments::Tail;
use filter::{Filter, subjects};
use follower::Follower;

/// How many a look at the end shows that does not say how many.
const USUAL_LAST: usize = 10;

/// What is stored just before `--until` is given so long to come in.
const GRACE: Duration = Duration::from_secs(1);

/// What to show, all times resolved.
struct Plan {
    stream: StreamName,
    filter: Filter,
    start: Start,
    follows: bool,
    most: Option<u64>,
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    At(StreamStart),
    /// The last so many that pass the filter.
    Last(usize),
}

pub(crate) fn run(arguments: &Tail) -> Result<u8, Failure> {
    output::start_log(arguments.verbose, true);
    let plan = Plan::resolve(arguments, SystemTime::now())?;
    let connect = resolve_connection(&arguments.connection, environment)?.name("jetsink tail");
    let runtime = runtime()?;
    runtime.block_on(tail(&plan, connect))
}

async fn tail(plan: &Plan, connect: ConnectSettings) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(Failure::Runtime)?;
    let interrupted = |code: u8| if plan.follows { 0 } else { code };
    let publisher = tokio::select! {
        publisher = NatsPublisher::connect(connect) => publisher?,
        signal = signals.next() => return Ok(interrupted(signal.exit_code())),
    };
    let mut follower = Follower::new(publisher, plan);
    let ended = tokio::select! {
        ended = follower.run() => ended.map(|()| 0),
        () = screen::closed() => Ok(0),
        signal = signals.next() => Ok(interrupted(signal.exit_code())),
    };
    follower.close().await;
    ended
}

impl Plan {
    fn resolve(arguments: &Tail, now: SystemTime) -> Result<Self, Failure> {
        let since = arguments.since.map(|moment| moment.resolve(now));
        let until = arguments.until.map(|moment| moment.resolve(now));
        let ends = arguments.no_follow || until.is_some_and(|until| until <= now);
        let start = match (since, arguments.last, arguments.all) {
            (Some(since), _, _) => Start::At(StreamStart::Time(since)),
            (None, Some(last), _) => Start::Last(last),
            (None, None, true) => Start::At(StreamStart::First),
            (None, None, false) if ends => Start::Last(USUAL_LAST),
            (None, None, false) => Start::At(StreamStart::New),
        };
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            return Err(Failure::Usage("--until is before --since".to_owned()));
        }
        let mut wanted = Vec::new();
        for template in &arguments.subject {
            let subjects = subjects(template, &arguments.tenant).map_err(Failure::Usage)?;
            wanted.extend(subjects);
        }
        wanted.sort_unstable();
        wanted.dedup();
        Ok(Self {
            stream: arguments.stream.clone(),
            filter: Filter {
                tenants: arguments.tenant.clone(),
                types: arguments.event_type.clone(),
                subjects: wanted,
                since,
                until,
            },
            start,
            follows: !ends,
            most: arguments.count,
            json: arguments.json,
        })
    }
}
