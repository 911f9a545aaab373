//! The body of an answer, which counts as unsent until its last byte has left the process.
//!
//! hyper and h2 drop data once they are written to the socket. They drop the body itself earlier: h2 queues data for
//! which the client has opened no window.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::idle::{Activity, Unsent};

/// An answer's body.
pub(super) struct AnswerBody {
    body: Body,
    unsent: Option<Unsent>,
}

/// A part of it.
pub(super) struct AnswerData {
    bytes: Bytes,
    _unsent: Option<Unsent>,
}

impl AnswerBody {
    pub(super) fn new(body: Body, activity: &Arc<Activity>) -> Self {
        // Without data there is nothing that a client's window can hold back.
        let unsent = (!body.is_end_stream()).then(|| activity.unsent());
        Self { body, unsent }
    }
}

impl HttpBody for AnswerBody {
    type Data = AnswerData;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<AnswerData>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_last = self.body.is_end_stream();
        Poll::Ready(frame.map(|frame| {
            let unsent = &mut self.unsent;
            frame.map(|frame| {
                frame.map_data(|bytes| AnswerData {
                    bytes,
                    _unsent: unsent.take_if(|_| is_last),
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Buf for AnswerData {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
