//! Signals that end the command gracefully.

use std::io;
use std::pin::pin;
use std::process::exit;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
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
    questions: mpsc::UnboundedSender<oneshot::Sender<()>>,
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
        let (questions, asked) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(receive(source, &sender, asked, &command)))?;
        Ok(Self {
            received,
            questions,
        })
    }

    /// Returns the signal that has arrived and was not taken. Ctrl-C also ends the writer of a pipe, and the end of the pipe may
    /// be seen before the thread of the signals has passed the signal on: this waits for that thread.
    pub(crate) async fn arrived(&mut self) -> Option<Interrupt> {
        let (answer, answered) = oneshot::channel();
        // Fails if a signal was passed on already.
        if self.questions.send(answer).is_ok() {
            let _ = answered.await;
        }
        self.received.try_recv().ok()
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
    asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    command: &Handle,
) {
    let mut last = first(&mut source, sender, asked).await;
    // A further signal does not begin the time again.
    let mut blocked = pin!(blocked(command));
    loop {
        tokio::select! {
            next = source.next() => {
                last = next;
                // Fails only if the command is at its end.
                let _ = sender.send(last);
            }
            () = &mut blocked => exit(last.exit_code().into()),
        }
    }
}

/// Passes the first signal on, and answers questions until then: no signal has arrived.
async fn first(
    source: &mut system::Signals,
    sender: &mpsc::UnboundedSender<Interrupt>,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
) -> Interrupt {
    let mut question = None;
    loop {
        tokio::select! {
            biased;
            first = source.next() => {
                // Before the questions are dropped.
                let _ = sender.send(first);
                return first;
            }
            // The runtime takes signals that have arrived before it goes on here.
            () = yield_now(), if question.is_some() => question = None,
            Some(next) = asked.recv(), if question.is_none() => question = Some(next),
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
