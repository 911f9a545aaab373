//! Many envelopes in flight over one session, with one waker and one timer for all of them.
//!
//! A publish of its own costs a future, a channel and two timers. Here answers go to the shared
//! [`Arrivals`]. All publishes have the same time limit, so only the oldest needs a timer.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::alone::{AfterAlone, Answered, Answering};
use super::answers::{Answer, Arrivals};
use super::places::{InFlight, Places};
use super::request::{TRY_AGAIN, not_taken};
use super::session::Session;
use super::shared::{OutMessage, Shared};
use super::suspects::Caution;
use super::unreceived::Unreceived;
use super::wire;
use crate::message::envelope::Envelope;
use crate::message::subject::Subject;
use crate::outcome::PublishError;
use crate::publisher::window::{Window, WindowResult};

type Sending = Pin<Box<dyn Future<Output = Result<(), async_nats::PublishError>> + Send>>;

pub(crate) struct NatsWindow<'a> {
    shared: &'a Arc<Shared>,
    /// `None` if the connection had ended before the window was made.
    session: Option<Arc<Session>>,
    arrivals: Arc<Arrivals>,
    places: Places,
    /// Set while the client's queue is full: the publish that waits for it; later ones are in `unsent`.
    sending: Option<(u64, Sending)>,
    unsent: VecDeque<(u64, Arc<Envelope>, Instant)>,
    /// A publish that must be alone in flight, until others may be in flight beside it; later ones are in `unsent`.
    alone: Option<Pin<Box<dyn Future<Output = AfterAlone<'a>> + Send + 'a>>>,
    /// Set while the first of `unsent` waits for a publish elsewhere that must be alone in flight.
    held: Option<Pin<Box<Sleep>>>,
    /// Whether the first of `unsent` waited for a publish that had to be alone, and not for the client's queue.
    was_held_back: bool,
    /// Set once a publish was left out that later ones must not overtake. They are held back until the caller has all
    /// results.
    has_gap: bool,
    /// Publishes after their time alone, until they have their answer.
    after_alone: FuturesUnordered<Answering<'a>>,
    unreceived: Unreceived<'a>,
    results: VecDeque<WindowResult>,
    /// The last subject in the client's form: the next publish often has the same.
    last_subject: Option<(Subject, async_nats::Subject)>,
    taken: Vec<(u64, Answer)>,
    timer: Option<Pin<Box<Sleep>>>,
}

enum HandedOver {
    /// It is in flight, or shares the failure of its subject.
    Yes,
    /// Another publish must be alone in flight: try again later.
    Held,
}

impl<'a> NatsWindow<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, session: Option<Arc<Session>>) -> Self {
        Self {
            shared,
            session,
            arrivals: Arc::default(),
            places: Places::default(),
            sending: None,
            unsent: VecDeque::new(),
            alone: None,
            held: None,
            was_held_back: false,
            has_gap: false,
            after_alone: FuturesUnordered::new(),
            unreceived: Unreceived::default(),
            results: VecDeque::new(),
            last_subject: None,
            taken: Vec::new(),
            timer: None,
        }
    }

    fn hand_over(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant) {
        match self.try_hand_over(number, envelope, deadline) {
            Ok(HandedOver::Yes) => {}
            Ok(HandedOver::Held) => {
                let envelope = Arc::clone(envelope);
                self.unsent.push_front((number, envelope, deadline));
                self.held = Some(Box::pin(sleep(TRY_AGAIN)));
            }
            Err(error) => {
                // After another error no later publish is sent over this session, or this one never is.
                let was_late = matches!(error, PublishError::HeldBack | PublishError::ClientBusy);
                self.results.push_back((number, Err(error)));
                if was_late {
                    self.hold_back_rest();
                }
            }
        }
    }

    /// Fails the publishes behind one that was left out: sent now, they would be stored before it.
    fn hold_back_rest(&mut self) {
        self.has_gap = true;
        let rest = self.unsent.drain(..);
        let held_back = rest.map(|(number, ..)| (number, Err(PublishError::HeldBack)));
        self.results.extend(held_back);
    }

    /// Whether a publish was left out, and the caller does not have all results yet.
    fn holds_back(&mut self) -> bool {
        let is_idle = self.results.is_empty()
            && self.after_alone.is_empty()
            && self.unreceived.is_empty()
            && self.places.is_empty();
        self.has_gap &= !is_idle;
        self.has_gap
    }

    /// Whether later publishes must wait in `unsent`.
    fn is_blocked(&self) -> bool {
        self.sending.is_some() || self.alone.is_some() || self.held.is_some()
    }

    fn try_hand_over(
        &mut self,
        number: u64,
        envelope: &Arc<Envelope>,
        deadline: Instant,
    ) -> Result<HandedOver, PublishError> {
        let session = self.session.as_ref();
        let session = session
            .filter(|session| session.is_connected())
            .ok_or(PublishError::NotConnected)?;
        if self.unreceived.add_behind(envelope.subject(), number) {
            return Ok(HandedOver::Yes);
        }
        let now = Instant::now();
        if deadline <= now {
            return Err(if self.was_held_back {
                PublishError::HeldBack
            } else {
                PublishError::ClientBusy
            });
        }
        let message = self.shared.message(session, envelope)?;
        match self.shared.caution(envelope, message.bytes)? {
            Caution::None => {}
            Caution::Alone => {
                let (session, envelope) = (Arc::clone(session), Arc::clone(envelope));
                let shared = self.shared;
                let alone = shared.publish_alone(session, number, envelope, message, deadline);
                self.alone = Some(Box::pin(alone));
                return Ok(HandedOver::Yes);
            }
        }
        let OutMessage { headers, bytes } = message;
        let link = &self.shared.link;
        let place = self.places.next();
        let subject = envelope.subject();
        let arrivals = &self.arrivals;
        let registered =
            link.answers
                .register_in(session.number, subject, bytes, arrivals, place)?;
        let Some(token) = registered else {
            return Ok(HandedOver::Held);
        };
        link.in_use();
        let reply = session.reply(token);
        let to = match &self.last_subject {
            Some((ours, theirs)) if ours == subject => theirs.clone(),
            _ => {
                let theirs = async_nats::Subject::from(subject.as_str());
                self.last_subject = Some((subject.clone(), theirs.clone()));
                theirs
            }
        };
        let send = session.client.publish_with_reply_and_headers(
            to.clone(),
            reply,
            headers,
            envelope.payload().clone(),
        );
        // The client's queue is larger than any window, so this is usually ready at once.
        let mut context = Context::from_waker(Waker::noop());
        match pin!(unconstrained(send)).poll(&mut context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                link.answers.forget(token);
                return Err(not_taken(&error));
            }
            Poll::Pending => {
                let (session, envelope) = (Arc::clone(session), Arc::clone(envelope));
                let reply = session.reply(token);
                let message = self.shared.message(&session, &envelope);
                let OutMessage { headers, .. } =
                    message.inspect_err(|_| link.answers.forget(token))?;
                let send = async move {
                    let (client, payload) = (&session.client, envelope.payload().clone());
                    client
                        .publish_with_reply_and_headers(to, reply, headers, payload)
                        .await
                };
                self.sending = Some((place, Box::pin(send)));
            }
        }
        self.places.push(InFlight {
            number,
            token,
            envelope: Arc::clone(envelope),
            bytes,
            late_at: now + (deadline - now) / 2,
            deadline,
        });
        Ok(HandedOver::Yes)
    }

    /// Continues the publishes that wait for the client's queue, or because one must be alone in flight.
    fn poll_sending(&mut self, context: &mut Context<'_>) {
        loop {
            if let Some(alone) = &mut self.alone {
                let Poll::Ready(AfterAlone { answering, is_gap }) = alone.as_mut().poll(context)
                else {
                    return;
                };
                self.alone = None;
                self.was_held_back = true;
                self.after_alone.push(answering);
                if is_gap {
                    self.hold_back_rest();
                }
                // If nothing received it, the next one of its subject must not be sent.
                self.poll_after_alone(context);
            }
            if let Some(held) = &mut self.held {
                if held.as_mut().poll(context).is_pending() {
                    return;
                }
                self.held = None;
                self.was_held_back = true;
            }
            if let Some((place, sending)) = &mut self.sending {
                let Poll::Ready(result) = pin!(unconstrained(sending)).poll(context) else {
                    return;
                };
                let place = *place;
                self.sending = None;
                self.was_held_back = false;
                if let Err(error) = result
                    && let Some(in_flight) = self.places.take(place)
                {
                    self.shared.link.answers.forget(in_flight.token);
                    let result = Err(not_taken(&error));
                    self.results.push_back((in_flight.number, result));
                }
            }
            let Some((number, envelope, deadline)) = self.unsent.pop_front() else {
                return;
            };
            self.hand_over(number, &envelope, deadline);
        }
    }

    fn arrived(&mut self, place: u64, answer: Answer) {
        let Some(in_flight) = self.places.take(place) else {
            return; // expired
        };
        if self.sending.as_ref().is_some_and(|(of, _)| *of == place) {
            // The client does not have the message yet: a dropped send sends nothing.
            self.sending = None;
            let result = Err(PublishError::NotConnected);
            self.results.push_back((in_flight.number, result));
            self.hold_back_rest();
            return;
        }
        self.record(&in_flight, &answer);
        let InFlight {
            number,
            envelope,
            deadline,
            ..
        } = in_flight;
        self.answered(Answered {
            number,
            envelope,
            deadline,
            answer,
        });
    }

    /// Handles the answers to publishes that were alone.
    fn poll_after_alone(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(answered)) = self.after_alone.poll_next_unpin(context) {
            self.answered(answered);
        }
    }

    fn answered(&mut self, answered: Answered) {
        let Answered {
            number,
            envelope,
            deadline,
            answer,
        } = answered;
        let result = answer.and_then(|message| self.shared.acknowledgement(&message));
        match (result, &self.session) {
            (Err(PublishError::NoStream), Some(session)) => {
                let (shared, session) = (self.shared, Arc::clone(session));
                let subject = envelope.subject().clone();
                self.unreceived
                    .add(envelope.subject(), number, || async move {
                        let reason = shared.why_no_responders(&session, &subject, deadline);
                        reason.await
                    });
            }
            (result, _) => {
                let blame = |error| wire::blame_headers(error, &envelope);
                self.results.push_back((number, result.map_err(blame)));
            }
        }
    }

    /// Ready when a check or an expiry was due.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = match &mut self.timer {
            // Set for the oldest publish, so never too late for a newer one.
            Some(timer) => timer,
            None => {
                let Some(due) = self.places.next_due() else {
                    return Poll::Pending;
                };
                self.timer.insert(Box::pin(sleep_until(due)))
            }
        };
        ready!(timer.as_mut().poll(context));
        self.timer = None;
        let now = Instant::now();
        self.check_late_publishes(now);
        while let Some(place) = self.places.expired(now) {
            self.expire(place);
        }
        Poll::Ready(())
    }

    /// Sends one liveness check for all late publishes: its answer arrives after theirs.
    fn check_late_publishes(&mut self, now: Instant) {
        let newest = self.places.newest_late(now);
        if let (Some(token), Some(session)) = (newest, &self.session) {
            let check = self.shared.check_liveness(session, token);
            // If the client's queue is full, the check is dropped, which is the same as no answer.
            let mut context = Context::from_waker(Waker::noop());
            let _ = pin!(unconstrained(check)).poll(&mut context);
        }
    }

    fn expire(&mut self, place: u64) {
        let Some(in_flight) = self.places.take(place) else {
            return;
        };
        let answers = &self.shared.link.answers;
        answers.forget(in_flight.token);
        if self.sending.take_if(|(of, _)| *of == place).is_some() {
            let result = Err(PublishError::ClientBusy);
            self.results.push_back((in_flight.number, result));
            return self.hold_back_rest();
        }
        let broker_answers = answers.answered_since(in_flight.token);
        let result = Err(PublishError::AckTimeout { broker_answers });
        self.record(&in_flight, &result);
        self.results.push_back((in_flight.number, result));
    }

    fn record<T>(&self, in_flight: &InFlight, outcome: &Result<T, PublishError>) {
        let suspects = &self.shared.link.suspects;
        let InFlight {
            envelope, bytes, ..
        } = in_flight;
        suspects.record(envelope, *bytes, outcome, Instant::now);
    }
}

impl Window for NatsWindow<'_> {
    fn send(&mut self, number: u64, envelope: &Arc<Envelope>, deadline: Instant) {
        if self.holds_back() {
            let result = Err(PublishError::HeldBack);
            self.results.push_back((number, result));
        } else if self.is_blocked() {
            let envelope = Arc::clone(envelope);
            self.unsent.push_back((number, envelope, deadline));
        } else {
            self.hand_over(number, envelope, deadline);
        }
    }

    fn poll_result(&mut self, context: &mut Context<'_>) -> Poll<WindowResult> {
        loop {
            if let Some(result) = self.results.pop_front() {
                return Poll::Ready(result);
            }
            self.poll_sending(context);
            self.poll_after_alone(context);
            self.unreceived.poll(context, &mut self.results);
            let mut taken = std::mem::take(&mut self.taken);
            self.arrivals.take(context, &mut taken);
            let nothing = taken.is_empty();
            for (place, answer) in taken.drain(..) {
                self.arrived(place, answer);
            }
            self.taken = taken;
            if nothing && self.results.is_empty() {
                ready!(self.poll_timer(context));
            }
        }
    }
}

impl Drop for NatsWindow<'_> {
    fn drop(&mut self) {
        for in_flight in self.places.iter() {
            self.shared.link.answers.forget(in_flight.token);
        }
    }
}
