//! The runtime of a command: one thread, since the work is waiting.

use tokio::runtime::Runtime;

use crate::failure::Failure;

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}
