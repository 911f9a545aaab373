//! Signals that end the command gracefully.

use std::io;
use std::pin::pin;
use std::process::exit;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::system;

/// The time for which a command may be blocked after a signal: by a FIFO that nothing reads, or by a disk that does not answer.
const MAX_BLOCKED: Duration = Duration::from_secs(5);

/// The interval between two checks whether the command is blocked.
const CHECK: Duration = Duration::from_millis(200);

/// A signal that ends the command gracefully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// SIGTERM, from service managers.
    #[cfg(unix)]
    Term,
}

impl Interrupt {
    /// The exit code by the shells' convention: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Int => 130,
            #[cfg(unix)]
            Self::Term => 143,
        }
    }
}

/// The signals that the process receives from now on. A command that is blocked for [`MAX_BLOCKED`] after a signal is ended as by
/// a kill.
pub(crate) struct Signals {
    received: mpsc::UnboundedReceiver<Interrupt>,
}

impl Signals {
    /// Starts the thread that receives them: the thread of the command may be blocked.
    ///
    /// # Panics
    /// Outside the runtime of the command.
    pub(crate) fn new() -> io::Result<Self> {
        let command = Handle::current();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let source = {
            let _in_runtime = runtime.enter();
            system::Signals::new()?
        };
        let (sender, received) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(receive(source, &sender, &command)))?;
        Ok(Self { received })
    }

    /// Takes the next signal. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Interrupt {
        match self.received.recv().await {
            Some(interrupt) => interrupt,
            // The thread runs for as long as the process.
            None => std::future::pending().await,
        }
    }
}

/// Passes signals on. From the first one on, it ends the process once the command is blocked.
async fn receive(
    mut source: system::Signals,
    sender: &mpsc::UnboundedSender<Interrupt>,
    command: &Handle,
) {
    let mut last = source.next().await;
    // A further signal does not begin the time again.
    let mut blocked = pin!(blocked(command));
    loop {
        // Fails only if the command is at its end.
        let _ = sender.send(last);
        tokio::select! {
            next = source.next() => last = next,
            () = &mut blocked => exit(last.exit_code().into()),
        }
    }
}

/// Returns once the runtime of the command has run no task for [`MAX_BLOCKED`]; also if it has ended, and the process has not.
async fn blocked(command: &Handle) {
    let mut ran = Instant::now();
    while ran.elapsed() < MAX_BLOCKED {
        if let Ok(Ok(())) = timeout(MAX_BLOCKED, command.spawn(async {})).await {
            ran = Instant::now();
        }
        sleep(CHECK).await;
    }
}
