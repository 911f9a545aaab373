//! Questions to the broker about the account, its streams and the user's permissions. They change and
//! store nothing.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Admin;
use crate::message::subject::Subject;
use crate::nats::api::{ANSWER_TIME, stream_names};
use crate::nats::question::Question;
use crate::nats::stream_name::StreamName;
use crate::nats::wire;
use crate::outcome::{PublishError, Refusal, RequestError, codes};

/// A name that no stream can have: it contains white space.
const NO_STREAM: &str = "jetsink asks whether it may publish";

impl Admin<'_> {
    /// Returns the account's limits and usage as the server's JSON (`$JS.API.INFO`). Takes at most 2 seconds.
    ///
    /// # Errors
    /// [`RequestError::JetStreamUnavailable`] if JetStream is not enabled, [`RequestError::Refused`],
    /// [`RequestError::Denied`], [`RequestError::NotConnected`], [`RequestError::NoAnswer`].
    pub async fn account_info(self) -> Result<Value, RequestError> {
        self.ask(Question::AccountInfo, &json!({})).await
    }

    /// Returns the names of the streams that capture any of `subjects`; `*` and `>` are allowed.
    /// Takes at most 2 seconds.
    ///
    /// # Errors
    /// As [`account_info`](Self::account_info).
    pub async fn stream_names(self, subjects: &str) -> Result<Vec<StreamName>, RequestError> {
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(RequestError::NotConnected)?;
        Ok(stream_names(shared, &session, subjects).await?)
    }

    /// Returns a stream's configuration and state as the server's JSON. Takes at most 2 seconds.
    ///
    /// # Errors
    /// As [`account_info`](Self::account_info).
    pub async fn stream_info(self, name: &StreamName) -> Result<Value, RequestError> {
        self.ask(Question::StreamInfo(name), &json!({})).await
    }

    /// Checks whether an event of this subject would be stored, without storing one. It sends a message
    /// that expects an impossible stream, which the stream refuses. Takes at most 2 seconds.
    ///
    /// # Errors
    /// The error that an emit would return, such as [`PublishError::PermissionDenied`] or
    /// [`PublishError::NoStream`].
    pub async fn check_publish(self, subject: &Subject) -> Result<(), PublishError> {
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(PublishError::NotConnected)?;
        let mut headers = HeaderMap::new();
        headers.insert(wire::EXPECTED_STREAM, NO_STREAM);
        let deadline = Instant::now() + ANSWER_TIME;
        let answer = shared
            .request(
                &session,
                subject.to_shared(),
                headers,
                Bytes::new(),
                deadline,
            )
            .await?;
        match wire::acknowledgement(&answer, None) {
            Err(PublishError::Refused(Refusal { code, .. })) if code == codes::STREAM_NOT_MATCH => {
                Ok(())
            }
            Err(PublishError::NoStream) => {
                Err(shared.why_no_responders(&session, subject, deadline).await)
            }
            Err(error) => Err(error),
            Ok(ack) => Err(PublishError::WrongStream {
                expected: NO_STREAM.to_owned(),
                actual: ack.stream,
            }),
        }
    }

    /// Checks whether the broker accepts a message of this size, payload and headers together, without storing
    /// one: it goes to an inbox without a subscriber. If the broker refuses it, the connection ends. The limit of
    /// the account or the user may be below the one that the server announces. Takes at most 2 seconds.
    ///
    /// # Errors
    /// [`PublishError::EndsConnection`] if the message is too large, [`PublishError::ConnectionLost`] if the
    /// connection ended for an unknown reason, [`PublishError::NotConnected`], [`PublishError::AckTimeout`].
    pub async fn check_size(self, bytes: usize) -> Result<(), PublishError> {
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(PublishError::NotConnected)?;
        let subject = session.new_inbox().into();
        let deadline = Instant::now() + ANSWER_TIME;
        let headers = HeaderMap::new();
        let payload = Bytes::from(vec![b'x'; bytes]);
        let answer = shared.request(&session, subject, headers, payload, deadline);
        match answer.await {
            Ok(_) | Err(PublishError::PermissionDenied) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
