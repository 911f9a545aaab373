//! Sends an event that may be the reason why the server ended connections (`suspects`) with no other unprocessed
//! message in flight.
//!
//! Suspects take turns (`turn`), and others wait meanwhile. A check that the server answers shows that it has processed
//! all messages in flight, and that the connection is well. Then the event is sent, and another check. Its answer shows
//! that the server has processed the event without ending the connection: the event is cleared, and others are sent
//! again beside it. So an event that is never acknowledged keeps others away for two round trips; each takes at most
//! [`MAX_TIME_TO_END`].
//!
//! Checks may be in flight beside it: they end no connection. A suspect without a turn until its deadline fails with
//! [`PublishError::HeldBack`], and so do those behind it in a window, so that none overtakes it. It was not sent, so a
//! pipeline queues it again, and this is no failed attempt.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::answers::{Answer, Pending};
use super::company::Company;
use super::request::{PendingAnswer, not_taken, received};
use super::session::Session;
use super::shared::{OutMessage, Shared};
use super::suspects::{MAX_TIME_TO_END, SentAlone};
use super::turn::Turn;
use crate::message::envelope::Envelope;
use crate::outcome::{PublishError, Scope};

/// A publish of a window and its answer.
pub(super) struct Answered {
    /// The caller's number.
    pub(super) number: u64,
    pub(super) envelope: Arc<Envelope>,
    pub(super) deadline: Instant,
    pub(super) answer: Answer,
}

/// A publish of a window from its time alone on, until it has its answer.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = Answered> + Send + 'a>>;

/// A publish of a window after its time alone.
pub(super) struct AfterAlone<'a> {
    pub(super) answering: Answering<'a>,
    /// Whether it was not sent and will be tried again: those behind it must not overtake it.
    pub(super) is_gap: bool,
}

/// An event after its time alone.
pub(super) enum SentEvent<'a> {
    Answered(Answer),
    InFlight(InFlight<'a>),
}

/// An event in flight beside others.
pub(super) struct InFlight<'a> {
    shared: &'a Shared,
    waiter: PendingAnswer<'a>,
    bytes: usize,
    sent: SentAlone,
}

impl Shared {
    /// Sends a publish of a window alone. Returns its further course once others may be in flight beside it.
    pub(super) async fn publish_alone(
        &self,
        session: Arc<Session>,
        number: u64,
        envelope: Arc<Envelope>,
        message: OutMessage,
        deadline: Instant,
    ) -> AfterAlone<'_> {
        let sent = self.send_alone(&session, &envelope, message, deadline);
        let sent = sent.await;
        let is_gap = matches!(&sent, Err(error) if error.scope() != Scope::Event);
        let answering = Box::pin(async move {
            let answer = match sent {
                Ok(SentEvent::Answered(answer)) => answer,
                Ok(SentEvent::InFlight(sent)) => sent.answer(&envelope, deadline).await,
                Err(error) => Err(error),
            };
            Answered {
                number,
                envelope,
                deadline,
                answer,
            }
        });
        AfterAlone { answering, is_gap }
    }

    /// Sends an event alone. Returns once others may be in flight beside it.
    ///
    /// # Errors
    /// [`PublishError::HeldBack`] if it has no turn until its deadline, or its turn ends before it is sent;
    /// [`PublishError::EndsConnection`] if the check before shows that the event ended the last connections.
    pub(super) async fn send_alone(
        &self,
        session: &Session,
        envelope: &Envelope,
        message: OutMessage,
        deadline: Instant,
    ) -> Result<SentEvent<'_>, PublishError> {
        let OutMessage { headers, bytes } = message;
        let turn = Turn::begin(&self.link, deadline).await?;
        let placed = self.place_alone(session, envelope, bytes, turn.number, deadline);
        let (mut waiter, sent) = placed.await?;
        let turn_ends = deadline.min(sent.at + MAX_TIME_TO_END);
        let (to, payload) = (envelope.subject().as_str().to_owned(), envelope.payload());
        let reply = session.reply(waiter.token);
        let client = &session.client;
        let send = client.publish_with_reply_and_headers(to, reply, headers, payload.clone());
        tokio::select! {
            biased;
            // The client does not have the message yet: a dropped send sends nothing.
            _ = &mut waiter.answer => return Err(PublishError::NotConnected),
            sent = timeout_at(turn_ends, send) => match sent {
                Err(_) if turn_ends < deadline => return Err(PublishError::HeldBack),
                Err(_) => return Err(PublishError::ClientBusy),
                Ok(Err(error)) => return Err(not_taken(&error)),
                Ok(Ok(())) => {}
            },
        }
        let check = self.answers_now(session, turn_ends);
        let answer = tokio::select! {
            biased;
            answer = &mut waiter.answer => Some(received(answer)),
            _ = check => None,
        };
        drop(turn);
        let in_flight = InFlight {
            shared: self,
            waiter,
            bytes,
            sent,
        };
        Ok(match answer {
            Some(answer) => {
                in_flight.judge(envelope, &answer);
                SentEvent::Answered(answer)
            }
            None => {
                if in_flight.was_processed() {
                    self.link.suspects.answered(envelope, bytes);
                }
                SentEvent::InFlight(in_flight)
            }
        })
    }

    /// Registers the event of a turn, once the server has processed all messages in flight.
    async fn place_alone(
        &self,
        session: &Session,
        envelope: &Envelope,
        bytes: usize,
        turn: u64,
        deadline: Instant,
    ) -> Result<(PendingAnswer<'_>, SentAlone), PublishError> {
        let give_up = deadline.min(Instant::now() + MAX_TIME_TO_END);
        let answers = self.answers_now(session, give_up).await;
        let server = answers.then(|| session.server_id());
        if let Some(server) = &server {
            self.link.suspects.confirm(envelope, bytes, server)?;
        }
        let publish = Pending {
            subject: envelope.subject().to_shared(),
            bytes,
            company: Company::Alone { turn },
        };
        let at = Instant::now();
        match PendingAnswer::register(&self.link, session, publish)? {
            Some(waiter) => Ok((waiter, SentAlone { at, server })),
            None => Err(PublishError::HeldBack),
        }
    }
}

impl InFlight<'_> {
    /// Waits for the answer.
    pub(super) async fn answer(mut self, envelope: &Envelope, deadline: Instant) -> Answer {
        let answer = match timeout_at(deadline, &mut self.waiter.answer).await {
            Ok(answer) => received(answer),
            Err(_) => Err(PublishError::AckTimeout {
                broker_answers: self.was_processed(),
            }),
        };
        self.judge(envelope, &answer);
        answer
    }

    fn judge(&self, envelope: &Envelope, answer: &Answer) {
        let link = &self.shared.link;
        let suspects = &link.suspects;
        if self.was_processed() {
            suspects.answered(envelope, self.bytes);
        } else if matches!(answer, Err(PublishError::ConnectionLost)) {
            if let Some(end) = link.answers.end_of_session(self.waiter.token) {
                let sent = (!end.is_explained).then_some(&self.sent);
                suspects.ended(envelope, sent, end.at);
            }
        } else {
            suspects.record(envelope, self.bytes, answer, Instant::now);
        }
    }

    /// Whether the server answered a later message.
    fn was_processed(&self) -> bool {
        let answers = &self.shared.link.answers;
        answers.answered_since(self.waiter.token)
    }
}
