//! Requests to the JetStream API.

use std::time::Duration;

use async_nats::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::question::Question;
use super::session::Session;
use super::shared::Shared;
use super::wire::ApiError;
use crate::outcome::{Known, PublishError, Scope};

/// The time limit of one request.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Sends a request to the JetStream API and reads the answer.
pub(crate) async fn ask<T: DeserializeOwned>(
    shared: &Shared,
    session: &Session,
    question: Question<'_>,
    details: &Value,
) -> Result<T, PublishError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Answer<T> {
        Error { error: ApiError },
        Good(T),
    }
    let subject = shared.api_subject(question);
    let deadline = Instant::now() + ANSWER_TIME;
    let details = details.to_string().into();
    let answer = shared
        .request(session, subject.into(), HeaderMap::new(), details, deadline)
        .await?;
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(PublishError::JetStreamUnavailable);
    }
    match serde_json::from_slice(&answer.payload) {
        Ok(Answer::Good(good)) => Ok(good),
        Ok(Answer::Error { error }) => Err(PublishError::Refused(error.into())),
        Err(error) => Err(PublishError::Other {
            text: format!("an answer of {question} can't be read: {error}"),
            scope: Scope::Broker,
            known: Known::NotSent,
        }),
    }
}

/// Returns the error for a stream that can't be read.
pub(crate) fn cant_read(reason: &str) -> PublishError {
    PublishError::Other {
        text: format!("the stream can't be read: {reason}"),
        scope: Scope::Broker,
        known: Known::NotSent,
    }
}
