//! Many envelopes in flight over one connection.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError};

/// The maximum number of envelopes in flight. Smaller than the client's queue, so that enqueueing never
/// waits and the order of the calls is the order of sending.
pub(crate) const MAX_WINDOW: usize = 16_384;

/// A number of envelopes in flight: 1 to 16,384.
///
/// ```
/// use jetsink::WindowSize;
///
/// const WINDOW: WindowSize = WindowSize::new(512).unwrap();
/// assert_eq!(WINDOW.get(), 512);
/// assert_eq!(WindowSize::new(0), None);
/// assert_eq!(WindowSize::new(16_385), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowSize(usize);

impl WindowSize {
    /// One envelope at a time.
    pub const MIN: Self = Self(1);

    /// 16,384 envelopes.
    pub const MAX: Self = Self(MAX_WINDOW);

    /// Returns `None` outside 1 to 16,384.
    #[must_use]
    pub const fn new(envelopes: usize) -> Option<Self> {
        match envelopes {
            1..=MAX_WINDOW => Some(Self(envelopes)),
            _ => None,
        }
    }

    /// Returns the number of envelopes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// The result of one envelope, with the number it was sent with.
pub type WindowResult = (u64, Result<Acknowledgement, PublishError>);

/// Many envelopes in flight over one connection, by [`Publisher::window`](crate::Publisher::window).
///
/// Dropping it abandons the envelopes in flight; each may be stored or not.
pub trait Window: Send {
    /// Sends `envelope` after all earlier ones. Does not wait: an envelope that cannot be sent now is
    /// sent by later calls of [`poll_result`](Self::poll_result), or fails.
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant);

    /// Returns the next result of any envelope; pending until one is available. Each envelope has its result
    /// by its deadline.
    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<WindowResult>;
}
