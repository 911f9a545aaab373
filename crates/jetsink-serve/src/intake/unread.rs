//! The body of a request that may be answered before it is read.
//!
//! A client that sends its whole body before it reads the answer would lose the answer: the system resets a connection
//! that is closed with unread bytes, and a stream of HTTP/2 is reset at once. So the rest of the body is read and dropped.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::EXPECT;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of an accepted sender's body that are read after its answer, if the limit of a body is not higher.
const MAX_DRAIN: usize = 16 << 20;

/// Bodies of a gateway that are drained at a time.
const MAX_DRAINS: usize = 128;

/// Bodies of a connection that are drained at a time.
const MAX_DRAINS_OF_CONNECTION: usize = 4;

/// The time for them.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The time for the next of them.
const DRAIN_PAUSE: Duration = Duration::from_secs(2);

/// The bodies that may be drained at a time. The default is that of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Drains(Arc<Semaphore>);

impl Drains {
    pub(crate) fn of_gateway() -> Self {
        Self::new(MAX_DRAINS)
    }

    fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max)))
    }

    fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

impl Default for Drains {
    fn default() -> Self {
        Self::new(MAX_DRAINS_OF_CONNECTION)
    }
}

/// A body, and how far it was read.
pub(crate) struct Unread<B> {
    body: B,
    state: State,
    max_drain: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untouched,
    Begun,
    Read,
}

impl<B: Body<Data = Bytes> + Unpin> Unread<B> {
    /// A body whose sender is not known yet, with the limit of a body.
    pub(crate) fn new(body: B, limit: usize) -> Self {
        Self {
            body,
            state: State::Untouched,
            max_drain: limit,
        }
    }

    /// Records that its sender was accepted: more of it may be drained.
    pub(crate) fn accept(&mut self) {
        self.max_drain = self.max_drain.max(MAX_DRAIN);
    }

    pub(crate) fn begin(&mut self) -> &mut B {
        self.state = State::Begun;
        &mut self.body
    }

    /// Records that the body was read to its end.
    pub(crate) fn end(&mut self) {
        self.state = State::Read;
    }

    /// Reads the rest within [`DRAIN_TIME`], in a task of its own, while the answer is sent. Reads at most the limit of a
    /// body, and [`MAX_DRAIN`] bytes if the sender was accepted. Drops the body if one of `drains` has no room.
    pub(crate) fn drain<'a>(self, request: &Parts, drains: impl IntoIterator<Item = &'a Drains>)
    where
        B: Send + 'static,
    {
        let must_drain = match self.state {
            State::Read => false,
            State::Begun => true,
            // Reading would ask for a body that its client holds back.
            State::Untouched => !request.headers.contains_key(EXPECT),
        };
        if !must_drain || self.body.is_end_stream() {
            return;
        }
        let permits: Option<Vec<_>> = drains.into_iter().map(Drains::begin).collect();
        let Some(permits) = permits else { return };
        tokio::spawn(async move {
            let _ = timeout(DRAIN_TIME, drain(self.body, self.max_drain)).await;
            drop(permits);
        });
    }
}

async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B, max: usize) {
    let mut read = 0;
    while let Ok(Some(Ok(frame))) = timeout(DRAIN_PAUSE, body.frame()).await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > max {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use tokio::sync::mpsc;

    const PART: usize = 64 << 10;

    type Sender = mpsc::Sender<()>;

    /// A body of parts, one for each message to the channel, which is closed once the body is dropped.
    fn body(limit: usize) -> (Unread<impl Body<Data = Bytes> + Unpin + Send>, Sender) {
        let (sender, mut parts) = mpsc::channel(1);
        let part = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; PART])));
        let parts = stream::poll_fn(move |context| {
            parts.poll_recv(context).map(|sent| sent.map(|()| part()))
        });
        (Unread::new(StreamBody::new(parts), limit), sender)
    }

    fn request() -> Parts {
        Request::new(()).into_parts().0
    }

    /// The bytes that are read until the body is dropped.
    async fn drained(sender: &Sender) -> usize {
        let mut sent = 0;
        while sender.send(()).await.is_ok() {
            sent += PART;
        }
        sent
    }

    // A reviewer's finding: 10,000 connections without a credential had 64 MiB of each of 100 requests read.
    #[tokio::test(start_paused = true)]
    async fn accepted_sender_may_send_more_after_its_answer() {
        let drains = [Drains::default()];
        for (limit, is_accepted, expected) in [
            (1 << 20, false, 1 << 20),
            (1 << 20, true, MAX_DRAIN),
            (2 * MAX_DRAIN, true, 2 * MAX_DRAIN),
        ] {
            let (mut body, sender) = body(limit);
            if is_accepted {
                body.accept();
            }
            body.drain(&request(), &drains);
            let drained = drained(&sender).await;
            // The part that exceeds the limit, and one in the channel.
            assert!((expected..=expected + 2 * PART).contains(&drained));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn body_without_room_for_its_drain_is_dropped() {
        let gateway = Drains::new(3);
        let connections = [Drains::new(2), Drains::new(2)];
        let drain = |connection: usize| {
            let (body, sender) = body(1 << 20);
            body.drain(&request(), [&connections[connection], &gateway]);
            sender
        };
        let senders = [0, 0, 0, 1, 1].map(drain);
        tokio::task::yield_now().await;
        let dropped = senders.each_ref().map(Sender::is_closed);
        assert_eq!(dropped, [false, false, true, false, true]);
        for sender in &senders {
            sender.closed().await;
        }
        tokio::task::yield_now().await;
        assert!(!drain(0).is_closed(), "the others have ended");
    }
}
