//! Requests to the JetStream API.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::failure::Failure;
use super::question::Question;
use super::session::Session;
use super::shared::Shared;
use super::stream_name::StreamName;
use super::wire::ApiError;
use crate::outcome::{Known, PublishError, Scope};

/// The usual time limit of one request.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Sends a request to the JetStream API and reads the answer.
pub(crate) async fn ask<T: DeserializeOwned>(
    shared: &Shared,
    session: &Session,
    question: Question<'_>,
    details: &Value,
) -> Result<T, PublishError> {
    ask_in(shared, session, None, question, details).await
}

/// Sends a request to the JetStream API of a domain, or of the configured one, and reads the answer.
pub(crate) async fn ask_in<T: DeserializeOwned>(
    shared: &Shared,
    session: &Session,
    domain: Option<&str>,
    question: Question<'_>,
    details: &Value,
) -> Result<T, PublishError> {
    let request = Request {
        question,
        details,
        time: ANSWER_TIME,
    };
    ask_within(shared, session, domain, request).await
}

/// A request to the JetStream API, and its time limit.
pub(crate) struct Request<'a> {
    pub(crate) question: Question<'a>,
    pub(crate) details: &'a Value,
    pub(crate) time: Duration,
}

/// As [`ask_in`], with another time limit.
pub(crate) async fn ask_within<T: DeserializeOwned>(
    shared: &Shared,
    session: &Session,
    domain: Option<&str>,
    request: Request<'_>,
) -> Result<T, PublishError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Answer<T> {
        Error { error: ApiError },
        Good(T),
    }
    let question = request.question;
    let answer = request_in(shared, session, domain, request).await?;
    match serde_json::from_slice(&answer.payload) {
        Ok(Answer::Good(good)) => {
            shared.api_answered();
            shared.jetstream_answered();
            Ok(good)
        }
        Ok(Answer::Error { error }) => {
            let error = PublishError::Refused(error.into());
            match Failure::of(&error) {
                // The account has lost it for a while: the server has disabled it, or it starts.
                Failure::NoJetStream if shared.had_jetstream() => {
                    return Err(PublishError::JetStreamUnavailable);
                }
                Failure::Other if error.scope() == Scope::Broker => {}
                _ => shared.jetstream_answered(),
            }
            Err(error)
        }
        Err(error) => Err(PublishError::Other {
            text: format!("an answer of {question} can't be read: {error}"),
            scope: Scope::Broker,
            known: Known::NotSent,
        }),
    }
}

/// Sends a request to the JetStream API of a domain, or of the configured one.
pub(crate) async fn request_in(
    shared: &Shared,
    session: &Session,
    domain: Option<&str>,
    request: Request<'_>,
) -> Result<Message, PublishError> {
    let subject = shared.api_subject_in(domain, request.question)?;
    let deadline = Instant::now() + request.time;
    let details = request.details.to_string().into();
    let answer = shared
        .request(session, subject.into(), HeaderMap::new(), details, deadline)
        .await?;
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(PublishError::JetStreamUnavailable);
    }
    Ok(answer)
}

/// Returns the names of the streams that capture any of `subjects`; `*` and `>` are allowed.
pub(crate) async fn stream_names(
    shared: &Shared,
    session: &Session,
    subjects: &str,
) -> Result<Vec<StreamName>, PublishError> {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        streams: Option<Vec<String>>,
    }
    let details = json!({ "subject": subjects });
    let names: Names = ask(shared, session, Question::StreamNames, &details).await?;
    let names = names.streams.unwrap_or_default().into_iter();
    names
        .map(|name| {
            let name = StreamName::try_from(name);
            name.map_err(|error| cant_read(&format!("its name in the server's answer: {error}")))
        })
        .collect()
}

/// Returns the error for a stream that can't be read.
pub(crate) fn cant_read(reason: &str) -> PublishError {
    PublishError::Other {
        text: format!("the stream can't be read: {reason}"),
        scope: Scope::Broker,
        known: Known::NotSent,
    }
}
