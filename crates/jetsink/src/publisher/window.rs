//! Many envelopes in flight over one connection.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError};

/// The maximum number of envelopes in flight. Smaller than the client's queue, so that enqueueing never
/// waits and the order of the calls is the order of sending.
pub const MAX_WINDOW: usize = 16_384;

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
