//! One message with a reply subject of its own, and its answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use tokio::sync::oneshot::Receiver;
use tokio::time::{Instant, sleep, timeout_at};

use super::answers::{Answer, Pending};
use super::company::Company;
use super::link::Link;
use super::question::Question;
use super::session::Session;
use super::shared::Shared;
use crate::outcome::{Known, PublishError, Scope};

/// The pause before a message is registered again while another has to be alone in flight.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(1);

impl Shared {
    /// Sends one message with a reply subject of its own, and waits for the answer.
    pub(crate) async fn request(
        &self,
        session: &Session,
        subject: Arc<str>,
        headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Message, PublishError> {
        let (bytes, company) = (payload.len(), Company::Any);
        self.link.suspects.check_request(bytes, Instant::now())?;
        self.request_in_company(session, subject, bytes, company, headers, payload, deadline)
            .await
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    pub(super) async fn request_in_company(
        &self,
        session: &Session,
        subject: Arc<str>,
        bytes: usize,
        company: Company,
        headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Message, PublishError> {
        if !session.is_connected() {
            return Err(PublishError::NotConnected);
        }
        let to = async_nats::Subject::from(&*subject);
        let mut waiter = loop {
            let subject = Arc::clone(&subject);
            let publish = Pending {
                subject,
                bytes,
                company,
            };
            match PendingAnswer::register(&self.link, session, publish)? {
                Some(waiter) => break waiter,
                None if Instant::now() >= deadline => return Err(PublishError::HeldBack),
                // Rare: boxed, so that the future of every publish stays small.
                None => Box::pin(sleep(TRY_AGAIN)).await,
            }
        };
        let reply = session.reply(waiter.token);
        let send = session
            .client
            .publish_with_reply_and_headers(to, reply, headers, payload);
        tokio::select! {
            biased;
            // The client does not have the message yet: a dropped send sends nothing.
            _ = &mut waiter.answer => return Err(PublishError::NotConnected),
            sent = timeout_at(deadline, send) => match sent {
                Err(_) => return Err(PublishError::ClientBusy),
                Ok(Err(error)) => return Err(not_taken(&error)),
                Ok(Ok(())) => {}
            },
        }
        let now = Instant::now();
        let halfway = now + deadline.saturating_duration_since(now) / 2;
        if let Ok(answer) = timeout_at(halfway, &mut waiter.answer).await {
            return received(answer);
        }
        // Late: find out whether only this subject or the whole broker fails.
        let check = async {
            self.check_liveness(session, waiter.token).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            answer = timeout_at(deadline, &mut waiter.answer) => match answer {
                Ok(answer) => received(answer),
                Err(_) => Err(PublishError::AckTimeout {
                    broker_answers: self.link.answers.answered_since(waiter.token),
                }),
            },
            never = check => match never {},
        }
    }

    /// Sends a liveness check to the JetStream API, unless one is pending.
    pub(crate) async fn check_liveness(&self, session: &Session, token: u64) {
        let subject = self.api_subject(Question::AccountInfo);
        let answers = &self.link.answers;
        if let Some(check) = answers.begin_check(session.number, token, &subject) {
            let reply = session.reply(check);
            // A failed check is the same as an unanswered one.
            let _ = session
                .client
                .publish_with_reply(subject, reply, Bytes::new())
                .await;
        }
    }
}

/// An entry in the table of answers, removed when dropped.
pub(super) struct PendingAnswer<'a> {
    link: &'a Link,
    pub(super) token: u64,
    pub(super) answer: Receiver<Answer>,
}

impl<'a> PendingAnswer<'a> {
    /// `None` if it must wait, as of [`Answers::register`](super::answers::Answers::register).
    pub(super) fn register(
        link: &'a Link,
        session: &Session,
        publish: Pending,
    ) -> Result<Option<Self>, PublishError> {
        let registered = link.answers.register(session.number, publish)?;
        link.in_use();
        Ok(registered.map(|(token, answer)| Self {
            link,
            token,
            answer,
        }))
    }
}

impl Drop for PendingAnswer<'_> {
    fn drop(&mut self) {
        self.link.answers.forget(self.token);
    }
}

pub(super) fn received<E>(answer: Result<Answer, E>) -> Result<Message, PublishError> {
    // The table drops a sender only after it has sent the answer.
    answer.unwrap_or(Err(PublishError::ConnectionLost))
}

pub(crate) fn not_taken(error: &async_nats::PublishError) -> PublishError {
    use async_nats::client::PublishErrorKind;
    let scope = match error.kind() {
        // The client has ended.
        PublishErrorKind::Send => return PublishError::NotConnected,
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => Scope::Event,
    };
    PublishError::Other {
        text: format!("the client refuses the message: {error}"),
        scope,
        known: Known::NotSent,
    }
}
