//! The runtime of a command: one thread, since the work is waiting, and others for calls that block.

use tokio::runtime::Runtime;

use crate::failure::Failure;

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}

/// Makes a call that may block on another thread: the command takes signals meanwhile. A runtime that must not wait for it has
/// to be shut down in the background.
pub(crate) async fn blocking<T: Send + 'static, E: Send + 'static>(
    call: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    Failure: From<E>,
{
    let called = tokio::task::spawn_blocking(call).await;
    Ok(called.map_err(|error| Failure::Runtime(error.into()))??)
}
