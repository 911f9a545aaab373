//! `jetsink spool`: inspects, changes and delivers a spool that no sink has open.

pub(crate) mod arguments;
mod change;
mod event;
mod inspect;
mod open;
mod replay;

use crate::failure::Failure;
use crate::output;
use crate::runtime::runtime;
use arguments::Spool;

pub(crate) fn run(command: Spool) -> Result<u8, Failure> {
    let log = match &command {
        Spool::Replay(arguments) => (arguments.verbose, false),
        _ => (0, true),
    };
    output::start_log(log.0, log.1);
    Ok(match command {
        Spool::Status(arguments) => inspect::status(&arguments)?,
        Spool::List(arguments) => inspect::list(&arguments)?,
        Spool::Verify(arguments) => inspect::verify(&arguments)?,
        Spool::Export(arguments) => inspect::export(&arguments)?,
        Spool::Dead(arguments) => change::dead(&arguments)?,
        Spool::Discard(arguments) => change::discard(&arguments)?,
        Spool::Replay(arguments) => runtime()?.block_on(replay::replay(*arguments))?,
    })
}
