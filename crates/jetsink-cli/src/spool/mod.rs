//! `jetsink spool`: inspects, changes and delivers a spool that no sink has open.

pub(crate) mod arguments;
mod change;
mod event;
pub(crate) mod folder;
mod inspect;
mod open;
mod replay;

use crate::failure::Failure;
use crate::output::{self, LogFrom};
use crate::runtime::runtime;
use arguments::Spool;

pub(crate) fn run(command: Spool) -> Result<u8, Failure> {
    match &command {
        Spool::Replay(arguments) => output::start_log(arguments.verbose, LogFrom::Warning),
        _ => output::start_log(0, LogFrom::Error),
    }
    Ok(match command {
        Spool::Status(arguments) => inspect::status(&arguments)?,
        Spool::List(arguments) => inspect::list(&arguments)?,
        Spool::Verify(arguments) => inspect::verify(&arguments)?,
        Spool::Export(arguments) => inspect::export(&arguments)?,
        Spool::Dead(arguments) => change::dead(&arguments)?,
        Spool::Discard(arguments) => change::discard(&arguments)?,
        Spool::Replay(arguments) => {
            let runtime = runtime()?;
            let ended = runtime.block_on(replay::replay(*arguments));
            // After a signal a thread may still read the spool. It needs no cleanup.
            runtime.shutdown_background();
            ended?
        }
    })
}
