//! The signals that end the command in good order.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::settings::Failure;

/// A signal that ends the command in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// What service managers send.
    Term,
}

impl Interrupt {
    /// As shells have it: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Int => 130,
            Self::Term => 143,
        }
    }
}

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::Runtime)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::Runtime)?,
        })
    }

    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Int,
            _ = self.terminate.recv() => Interrupt::Term,
        }
    }
}
