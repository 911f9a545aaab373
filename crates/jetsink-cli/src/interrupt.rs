//! Signals that end the command gracefully.

pub(crate) use crate::system::Signals;

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
