//! Finds the reason why nothing receives a subject.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use super::question::Question;
use super::session::Session;
use super::shared::Shared;
use super::wire;
use crate::message::subject::Subject;
use crate::outcome::{PublishError, codes};

/// The time limit of the request for the reason, once it is sent.
pub(super) const REASON_TIME: Duration = Duration::from_millis(500);

impl Shared {
    /// Returns the reason for a "no responders" answer: no stream captures the subject, its stream has no
    /// leader, or JetStream is not available. All publishes of a subject share the request for it. If too many subjects
    /// fail at the same time to ask for each before the deadline, the reason is unknown.
    ///
    /// An API that does not answer in time has no leader itself, as while the cluster elects one. The stream may have
    /// lost its leader with the same server, so the failure may pass: [`PublishError::NoLeader`].
    pub(crate) async fn why_no_responders(
        self: &Arc<Self>,
        session: &Arc<Session>,
        subject: &Subject,
        deadline: Instant,
    ) -> PublishError {
        let ask = || {
            let (shared, session) = (Arc::clone(self), Arc::clone(session));
            let subject = subject.clone();
            async move { shared.ask_for_the_reason(&session, subject.as_str()).await }
        };
        session.reasons.of(subject, deadline, ask).await
    }

    async fn ask_for_the_reason(&self, session: &Session, subject: &str) -> PublishError {
        #[derive(Deserialize)]
        struct Names {
            streams: Option<Vec<String>>,
            error: Option<wire::ApiError>,
        }
        let deadline = Instant::now() + REASON_TIME;
        let question = serde_json::json!({ "subject": subject }).to_string();
        let names = self.api_subject(Question::StreamNames);
        let answer = self
            .request(
                session,
                names.into(),
                HeaderMap::new(),
                question.into(),
                deadline,
            )
            .await;
        let message = match answer {
            Ok(message) => message,
            // The request itself is refused, each time.
            Err(PublishError::PermissionDenied | PublishError::EndsConnection { .. }) => {
                return PublishError::NoStream;
            }
            Err(_) => return PublishError::NoLeader,
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return self.without_jetstream(session.client.server_info().jetstream);
        }
        match serde_json::from_slice(&message.payload) {
            Ok(Names { error: Some(e), .. }) => match e.err_code {
                codes::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => self.without_jetstream(true),
                codes::JETSTREAM_NOT_ENABLED => self.without_jetstream(false),
                codes::CLUSTER_NOT_AVAILABLE => PublishError::JetStreamUnavailable,
                codes::CLUSTER_NOT_LEADER => PublishError::NoLeader,
                _ => PublishError::NoStream,
            },
            Ok(Names {
                streams: Some(streams),
                ..
            }) => {
                self.api_answered();
                if streams.is_empty() {
                    PublishError::NoStream
                } else {
                    PublishError::NoLeader
                }
            }
            Ok(Names { streams: None, .. }) => {
                self.api_answered();
                PublishError::NoStream
            }
            Err(_) => PublishError::NoStream,
        }
    }

    /// Returns the error of a subject without a responder in an account whose JetStream API does not answer. If the
    /// server has JetStream, or a stream has acknowledged an event, the account gets streams by imports, and
    /// each subject has its own. Otherwise JetStream is missing for all: also if the account had it before.
    fn without_jetstream(&self, server_has_it: bool) -> PublishError {
        if !self.had_jetstream() && (server_has_it || self.has_acknowledged.load(Ordering::Relaxed))
        {
            PublishError::NotImported
        } else {
            PublishError::JetStreamUnavailable
        }
    }
}
