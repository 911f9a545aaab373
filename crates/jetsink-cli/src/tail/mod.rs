//! `jetsink tail`: shows a stream's events, new ones or stored ones.

pub(crate) mod arguments;
mod content;
mod filter;
mod follower;
mod history;
mod line;
mod plan;
mod reading;
mod screen;
mod text;

use std::time::SystemTime;

use jetsink::{ConnectSettings, NatsPublisher};

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, LogFrom};
use crate::runtime::runtime;
use arguments::Tail;
use follower::Follower;
use plan::Plan;

pub(crate) fn run(arguments: &Tail) -> Result<u8, Failure> {
    output::start_log(arguments.verbose, LogFrom::Error);
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
