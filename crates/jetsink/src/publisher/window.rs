//! Many envelopes in flight over one connection.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError};

/// The widest window. Less than the client's queue, so that handing an envelope over never waits and
/// the order of handing over is the order of sending.
pub const WIDEST_WINDOW: usize = 16_384;

/// What came of one envelope, by the number it was sent with.
pub type Sent = (u64, Result<Acknowledgement, PublishError>);

/// Many envelopes in flight over one connection, by [`Publisher::window`](crate::Publisher::window).
///
/// Dropping it gives up on what is in flight, which may be stored or not.
pub trait Window: Send {
    /// Sends `envelope` behind all that were sent before. Does not wait: where it can't go out now, it
    /// does so while [`poll_result`](Self::poll_result) is called, and where it never does, its result
    /// says so.
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant);

    /// What came of one of them, whichever is first; pending while there is nothing to tell. Each has
    /// its result by its deadline.
    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<Sent>;
}
