//! The NATS publisher: hands an envelope to the client and waits for the stream's word.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::oneshot::Receiver;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::answers::Answer;
use super::link::Link;
use super::session::{Session, keep_connected};
use super::stored::stored_ids;
use super::window::NatsWindow;
use super::wire;
use crate::connect::{ConnectError, ConnectSettings};
use crate::envelope::Envelope;
use crate::error::{PublishError, Scope};
use crate::publisher::{Acknowledgement, Connection, Publisher, StoredIds};
use crate::subject::Subject;
use crate::window::Window;

/// The most header bytes that a stream stores (server code 10097).
const MOST_HEADER_BYTES: usize = 65_535;

/// The longest that finding out why nobody took a message may take.
const LOOKUP_TIME: Duration = Duration::from_millis(500);

/// A [`Publisher`] over one NATS connection at a time.
///
/// - Hands nothing to the client while there is no connection, and ends the client with its
///   connection, since it would keep what it has not sent and send it late, out of order.
/// - When the connection ends, fails what is in flight within 50 ms as
///   [`ConnectionLost`](PublishError::ConnectionLost), and connects again by itself, for ever.
/// - Keeps nothing for an answer that was given up, so memory does not grow in an outage.
/// - Leaves a server that keeps failing while it answers pings, where it knows of another: one that is
///   cut off from its cluster, for instance.
/// - When an answer is late, asks the JetStream API whether the broker is there at all, and so tells
///   a failing subject from a failing broker.
///
/// Dropping it closes the connection.
///
/// ```no_run
/// use jetsink::{ConnectSettings, NatsPublisher, Sink, SinkSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = ConnectSettings::new("nats://10.0.0.1,nats://10.0.0.2")?
///     .credentials_file("/etc/app/app.creds")
///     .start_disconnected();
/// let sink = Sink::new(NatsPublisher::connect(broker).await?, SinkSettings::default());
/// if let Some(error) = sink.publisher().connect_error() {
///     eprintln!("{error}"); // why there is no connection, so far
/// }
/// # Ok(())
/// # }
/// ```
pub struct NatsPublisher {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

/// What publishing and keeping the connection share.
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    session: RwLock<Option<Arc<Session>>>,
    /// With the dot at its end.
    api: String,
    expected_stream: Option<String>,
    connect_error: Mutex<Option<ConnectError>>,
    /// Rung to have the session end, if there is another server.
    pub(super) leave: Notify,
}

impl NatsPublisher {
    /// Connects.
    ///
    /// Unless [`start_disconnected`](ConnectSettings::start_disconnected) is set, this tries each
    /// server once and gives an error when none lets us in, within the connect timeout for each.
    /// Later it reconnects by itself, for ever. Dropping the future gives up.
    ///
    /// # Errors
    /// [`ConnectError::File`] and [`ConnectError::Setting`] for what no broker can mend, also when it starts
    /// disconnected; otherwise [`ConnectError::Refused`] where no server lets us in. No credentials in the texts.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(settings: ConnectSettings) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared {
            link: Link::new(),
            session: RwLock::new(None),
            api: settings.api_prefix(),
            expected_stream: settings.expected_stream_name().map(str::to_owned),
            connect_error: Mutex::default(),
            leave: Notify::new(),
        });
        if settings.starts_disconnected() {
            // What no broker can mend is told at once all the same.
            settings.options().await?;
        } else {
            let session =
                Session::open(&settings, settings.servers_to_try(&[]), &shared.link).await?;
            shared.set_session(Some(session));
        }
        let keeper = tokio::spawn(keep_connected(Arc::clone(&shared), settings));
        Ok(Self {
            shared,
            keeper: keeper.abort_handle(),
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Why the last try to connect failed; `None` since the last connection. Of servers that failed
    /// for different reasons, the last one's.
    #[must_use]
    pub fn connect_error(&self) -> Option<ConnectError> {
        self.shared.connect_error()
    }

    /// Publishes that wait for an answer at this moment.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.link.answers.in_flight()
    }
}

impl Shared {
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        // Nothing panics while holding it.
        self.session
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn connect_error(&self) -> Option<ConnectError> {
        // Nothing panics while holding it.
        let error = self.connect_error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_connect_error(&self, error: Option<ConnectError>) {
        let held = self.connect_error.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn session_of(&self, connection: u64) -> Option<Arc<Session>> {
        self.session()
            .filter(|session| session.number == connection)
    }

    pub(super) fn set_session(&self, session: Option<Arc<Session>>) {
        let ready = session.clone();
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = session;
        if let Some(session) = ready {
            self.link.up(session.number);
            // Its end may have come before its beginning was known.
            if !session.is_connected() {
                self.link.down();
            }
        }
    }

    /// The subject of a question to the JetStream API.
    pub(super) fn api_subject(&self, question: &str) -> String {
        format!("{}{question}", self.api)
    }

    /// Sends one message with an inbox of ours and waits for what comes back.
    pub(super) async fn request(
        &self,
        session: &Session,
        subject: Arc<str>,
        headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Message, PublishError> {
        if !session.is_connected() {
            return Err(PublishError::NotConnected);
        }
        let to = async_nats::Subject::from(&*subject);
        let mut waiter = Waiter::register(&self.link, session, subject)?;
        let reply = session.reply(waiter.token);
        let send = session
            .client
            .publish_with_reply_and_headers(to, reply, headers, payload);
        tokio::select! {
            biased;
            // The message is still ours while this waits: a dropped send sends nothing.
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
        // Late. Is it this subject, or everything?
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

    /// Asks the JetStream API for a sign of life, unless someone who waits has asked already.
    pub(super) async fn check_liveness(&self, session: &Session, token: u64) {
        if let Some(check) = self.link.answers.begin_check(session.number, token) {
            let reply = session.reply(check);
            let subject = self.api_subject("INFO");
            // A failure leaves the question unanswered, which is an answer too.
            let _ = session
                .client
                .publish_with_reply(subject, reply, Bytes::new())
                .await;
        }
    }

    /// Nobody took the message: because no stream captures the subject, or because nobody leads the
    /// one that does, or because there is no JetStream at all. The first answer can't tell.
    pub(super) async fn why_no_responders(
        &self,
        session: &Session,
        subject: &str,
        deadline: Instant,
    ) -> PublishError {
        #[derive(Deserialize)]
        struct Names {
            streams: Option<Vec<String>>,
            error: Option<wire::ApiError>,
        }
        let deadline = deadline.min(Instant::now() + LOOKUP_TIME);
        let question = serde_json::json!({ "subject": subject }).to_string();
        let names = self.api_subject("STREAM.NAMES");
        let answer = self
            .request(
                session,
                names.into(),
                HeaderMap::new(),
                question.into(),
                deadline,
            )
            .await;
        let Ok(message) = answer else {
            return PublishError::NoStream;
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return PublishError::JetStreamUnavailable;
        }
        match serde_json::from_slice(&message.payload) {
            Ok(Names { error: Some(e), .. }) if matches!(e.err_code, 10_039 | 10_076 | 10_008) => {
                PublishError::JetStreamUnavailable
            }
            Ok(Names {
                streams: Some(streams),
                ..
            }) if !streams.is_empty() => PublishError::NoLeader,
            _ => PublishError::NoStream,
        }
    }

    pub(super) fn expected_stream(&self) -> Option<&str> {
        self.expected_stream.as_deref()
    }

    /// The headers to send, if the broker takes an envelope of this size.
    pub(super) fn headers(
        &self,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<HeaderMap, PublishError> {
        let headers = wire::headers(envelope, self.expected_stream())?;
        if_taken(session, envelope, headers)
    }

    /// The last sequence number of the stream that captures the envelope's subject once it has stored all
    /// that it has taken so far, what was sent before over this connection above all. The envelope is
    /// sent, in a way that no stream stores it. `None` where the stream refuses it for another reason that
    /// lies with the envelope or the subject.
    pub(super) async fn last_taken(
        &self,
        session: &Session,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Option<u64>, PublishError> {
        let headers = wire::headers_of_a_question(envelope, self.expected_stream())?;
        let headers = if_taken(session, envelope, headers)?;
        let subject = envelope.subject().to_shared();
        let payload = envelope.payload().clone();
        let answer = self
            .request(session, subject, headers, payload, deadline)
            .await?;
        match wire::acknowledgement(&answer, None) {
            Ok(stored) => {
                warn!(stream = %stored.stream, sequence = stored.sequence,
                    "the stream has stored a message that expected an impossible last sequence");
                Ok(Some(stored.sequence))
            }
            // Who asks has just been told that a stream captures the subject.
            Err(PublishError::NoStream) => Err(PublishError::NoLeader),
            Err(PublishError::Refused(refusal)) => match wire::last_sequence(&refusal) {
                Some(sequence) => Ok(Some(sequence)),
                None => {
                    let error = PublishError::Refused(refusal);
                    let will_pass = error.scope() == Scope::Broker || error.is_transient();
                    if will_pass { Err(error) } else { Ok(None) }
                }
            },
            Err(error) => Err(error),
        }
    }

    async fn publish_in(
        &self,
        session: &Session,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let headers = self.headers(session, envelope)?;
        let subject = envelope.subject();
        let payload = envelope.payload().clone();
        let answer = self
            .request(session, subject.to_shared(), headers, payload, deadline)
            .await?;
        match wire::acknowledgement(&answer, self.expected_stream()) {
            Err(PublishError::NoStream) => {
                let reason = self.why_no_responders(session, subject.as_str(), deadline);
                Err(reason.await)
            }
            acknowledged => acknowledged,
        }
    }
}

impl Publisher for NatsPublisher {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let session = self.shared.session().ok_or(PublishError::NotConnected)?;
        self.shared.publish_in(&session, envelope, deadline).await
    }

    fn keeps_deadline(&self) -> bool {
        true
    }

    async fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let session = self.shared.session_of(connection);
        let session = session.ok_or(PublishError::NotConnected)?;
        self.shared.publish_in(&session, envelope, deadline).await
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        let session = match connection {
            Some(number) => self.shared.session_of(number),
            None => self.shared.session(),
        };
        Box::new(NatsWindow::new(&self.shared, session))
    }

    async fn stored_ids(
        &self,
        events: &[Envelope],
        after: &HashMap<String, u64>,
        visit: &mut (dyn FnMut(&[&Subject], &str) + Send),
    ) -> Result<StoredIds, PublishError> {
        let session = self.shared.session().ok_or(PublishError::NotConnected)?;
        stored_ids(&self.shared, &session, events, after, visit).await
    }

    fn try_elsewhere(&self) {
        // Who is connecting already needs no telling.
        self.shared.leave.notify_waiters();
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        Some(self.shared.link.subscribe())
    }
}

impl Drop for NatsPublisher {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for NatsPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPublisher")
            .field("connection", &*self.shared.link.subscribe().borrow())
            .field("expected_stream", &self.shared.expected_stream)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// The headers, unless the broker takes no message of their size and the payload's.
fn if_taken(
    session: &Session,
    envelope: &Envelope,
    (headers, header_bytes): (HeaderMap, usize),
) -> Result<HeaderMap, PublishError> {
    let bytes = header_bytes + envelope.payload().len();
    let limit = session.client.max_payload();
    if bytes > limit {
        return Err(PublishError::TooLarge { bytes, limit });
    }
    if header_bytes > MOST_HEADER_BYTES {
        return Err(PublishError::HeadersTooLarge {
            bytes: header_bytes,
            limit: MOST_HEADER_BYTES,
        });
    }
    Ok(headers)
}

/// A place in the table of answers, given back when dropped.
struct Waiter<'a> {
    link: &'a Link,
    token: u64,
    answer: Receiver<Answer>,
}

impl<'a> Waiter<'a> {
    fn register(
        link: &'a Link,
        session: &Session,
        subject: Arc<str>,
    ) -> Result<Self, PublishError> {
        let (token, answer) = link.answers.register(session.number, subject)?;
        link.in_use();
        Ok(Self {
            link,
            token,
            answer,
        })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.link.answers.forget(self.token);
    }
}

fn received<E>(answer: Result<Answer, E>) -> Result<Message, PublishError> {
    // The table drops a sender only after sending.
    answer.unwrap_or(Err(PublishError::ConnectionLost))
}

pub(super) fn not_taken(error: &async_nats::PublishError) -> PublishError {
    use async_nats::client::PublishErrorKind;
    let scope = match error.kind() {
        // The client is closed for good.
        PublishErrorKind::Send => return PublishError::NotConnected,
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => {
            crate::Scope::Event
        }
    };
    PublishError::Other {
        text: format!("the client refuses the message: {error}"),
        scope,
        known: crate::Known::NotSent,
    }
}
