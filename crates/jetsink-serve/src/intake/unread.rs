//! The body of a request that may be answered before it is read.
//!
//! A client that sends its whole body before it reads the answer would lose the answer: the system resets a connection
//! that is closed with unread bytes, and a stream of HTTP/2 is reset at once. So the rest of the body is read and dropped.

use std::time::Duration;

use axum::http::header::EXPECT;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::timeout;

/// Bytes of a body that are read after its answer.
const MAX_DRAIN: usize = 64 << 20;

/// The time for them.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The time for the next of them.
const DRAIN_PAUSE: Duration = Duration::from_secs(2);

/// A body, and how far it was read.
pub(crate) struct Unread<B> {
    body: B,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untouched,
    Begun,
    Read,
}

impl<B: Body<Data = Bytes> + Unpin> Unread<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            state: State::Untouched,
        }
    }

    pub(crate) fn begin(&mut self) -> &mut B {
        self.state = State::Begun;
        &mut self.body
    }

    /// Records that the body was read to its end.
    pub(crate) fn end(&mut self) {
        self.state = State::Read;
    }

    /// Reads the rest in a task of its own, while the answer is sent: at most [`MAX_DRAIN`] bytes, within
    /// [`DRAIN_TIME`]. A request has at most one such task.
    pub(crate) fn drain(self, request: &Parts)
    where
        B: Send + 'static,
    {
        let must_drain = match self.state {
            State::Read => false,
            State::Begun => true,
            // Reading would ask for a body that its client holds back.
            State::Untouched => !request.headers.contains_key(EXPECT),
        };
        if must_drain && !self.body.is_end_stream() {
            tokio::spawn(timeout(DRAIN_TIME, drain(self.body)));
        }
    }
}

async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut read = 0;
    while let Ok(Some(Ok(frame))) = timeout(DRAIN_PAUSE, body.frame()).await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_DRAIN {
            return;
        }
    }
}
