//! The state shared by publishing, reading and reconnecting: the link, the session, and how an envelope is sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::alone::SentEvent;
use super::api::cant_read;
use super::company::Company;
use super::connect::{ConnectError, ConnectSettings};
use super::link::Link;
use super::question::Question;
use super::read::progress::Progress;
use super::session::Session;
use super::stream_name::check_name;
use super::suspects::Caution;
use super::wire;
use crate::message::envelope::Envelope;
use crate::outcome::{Acknowledgement, PublishError, Scope};
use crate::sync::{lock, read, write};

/// The header bytes that a stream stores at most (error 10097).
const MAX_HEADER_BYTES: usize = 65_535;

/// The parts of a publisher that its tasks share.
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    session: RwLock<Option<Arc<Session>>>,
    /// With the dot at its end.
    api: String,
    expected_stream: Option<String>,
    connect_error: Mutex<Option<ConnectError>>,
    /// Whether a stream has acknowledged an event.
    pub(super) has_acknowledged: AtomicBool,
    /// Whether the JetStream API has answered this account.
    pub(super) api_has_answered: AtomicBool,
    /// The number of answers that show that JetStream is available, apart from acknowledgements.
    jetstream_answers: AtomicU64,
    /// The messages that unfinished look-ups have read.
    pub(super) progress: Progress,
    /// Notified to end the session if another server is reachable.
    pub(crate) leave: Notify,
}

impl Shared {
    pub(crate) fn new(settings: &ConnectSettings) -> Self {
        Self {
            link: Link::new(),
            session: RwLock::new(None),
            api: settings.api_prefix(),
            expected_stream: settings.expected_stream_name().map(str::to_owned),
            connect_error: Mutex::default(),
            has_acknowledged: AtomicBool::new(false),
            api_has_answered: AtomicBool::new(false),
            jetstream_answers: AtomicU64::new(0),
            progress: Progress::default(),
            leave: Notify::new(),
        }
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        read(&self.session).clone()
    }

    pub(crate) fn connect_error(&self) -> Option<ConnectError> {
        lock(&self.connect_error).clone()
    }

    pub(crate) fn set_connect_error(&self, error: Option<ConnectError>) {
        *lock(&self.connect_error) = error;
    }

    pub(crate) fn session_of(&self, connection: u64) -> Option<Arc<Session>> {
        self.session()
            .filter(|session| session.number == connection)
    }

    pub(crate) fn set_session(&self, session: Option<Arc<Session>>) {
        let ready = session.clone();
        *write(&self.session) = session;
        if let Some(session) = ready {
            self.link.up(session.number, session.server_id());
            // The session may have ended before it was marked as up.
            if !session.is_connected() {
                self.link.down();
            }
        }
    }

    /// Returns the subject of a request to the JetStream API.
    pub(crate) fn api_subject(&self, question: Question<'_>) -> String {
        format!("{}{question}", self.api)
    }

    /// Returns the subject of a request to the JetStream API of another domain.
    ///
    /// # Errors
    /// The domain is not one token of a subject: a caller of [`Publisher`](crate::Publisher) may pass any text.
    pub(crate) fn api_subject_in(
        &self,
        domain: Option<&str>,
        question: Question<'_>,
    ) -> Result<String, PublishError> {
        match domain {
            None => Ok(self.api_subject(question)),
            Some(domain) => {
                check_name(domain).map_err(|error| cant_read(&format!("its domain: {error}")))?;
                Ok(format!("$JS.{domain}.API.{question}"))
            }
        }
    }

    /// Sends an envelope with the caution that earlier endings of the connection demand, and records the
    /// outcome.
    pub(crate) async fn send(
        &self,
        session: &Session,
        envelope: &Envelope,
        message: OutMessage,
        deadline: Instant,
    ) -> Result<Message, PublishError> {
        match self.caution(envelope, message.bytes)? {
            Caution::None => {}
            // Rare: boxed, so that the future of every other publish stays small.
            Caution::Alone => {
                let sent = Box::pin(self.send_alone(session, envelope, message, deadline));
                return match sent.await? {
                    SentEvent::Answered(answer) => answer,
                    SentEvent::InFlight(sent) => Box::pin(sent.answer(envelope, deadline)).await,
                };
            }
        }
        let OutMessage { headers, bytes } = message;
        let (subject, payload) = (envelope.subject().to_shared(), envelope.payload().clone());
        let company = Company::Any;
        let answer = self
            .request_in_company(session, subject, bytes, company, headers, payload, deadline)
            .await;
        let suspects = &self.link.suspects;
        suspects.record(envelope, bytes, &answer, Instant::now);
        answer
    }

    /// Returns how to send an envelope of this size.
    ///
    /// # Errors
    /// [`PublishError::EndsConnection`] if it would end the connection.
    pub(crate) fn caution(
        &self,
        envelope: &Envelope,
        bytes: usize,
    ) -> Result<Caution, PublishError> {
        let suspects = &self.link.suspects;
        if suspects.is_empty() {
            return Ok(Caution::None);
        }
        suspects.caution(envelope, bytes, Instant::now())
    }

    /// Whether the server answers a check over this connection.
    pub(super) async fn answers_now(&self, session: &Session, deadline: Instant) -> bool {
        let subject = self.api_subject(Question::AccountInfo).into();
        let (headers, payload, company) = (HeaderMap::new(), Bytes::new(), Company::Check);
        let answer = self
            .request_in_company(session, subject, 0, company, headers, payload, deadline)
            .await;
        matches!(answer, Ok(_) | Err(PublishError::PermissionDenied))
    }

    /// Records that the account has JetStream of its own.
    pub(crate) fn api_answered(&self) {
        self.api_has_answered.store(true, Ordering::Relaxed);
    }

    /// Whether the account had JetStream of its own.
    pub(crate) fn had_jetstream(&self) -> bool {
        self.api_has_answered.load(Ordering::Relaxed)
    }

    /// Records that JetStream is available.
    pub(crate) fn jetstream_answered(&self) {
        self.jetstream_answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of answers that show that JetStream is available.
    pub(crate) fn jetstream_answers(&self) -> u64 {
        self.jetstream_answers.load(Ordering::Relaxed)
    }

    /// Parses an answer, and remembers that a stream has acknowledged an event.
    pub(crate) fn acknowledgement(
        &self,
        message: &Message,
    ) -> Result<Acknowledgement, PublishError> {
        let acknowledged = wire::acknowledgement(message, self.expected_stream())?;
        if !self.has_acknowledged.load(Ordering::Relaxed) {
            self.has_acknowledged.store(true, Ordering::Relaxed);
        }
        Ok(acknowledged)
    }

    pub(crate) fn expected_stream(&self) -> Option<&str> {
        self.expected_stream.as_deref()
    }

    /// Returns the headers to send, if the broker accepts an envelope of this size.
    pub(crate) fn message(
        &self,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<OutMessage, PublishError> {
        let headers = wire::headers(envelope, self.expected_stream(), SystemTime::now)?;
        check_size(session, envelope, headers)
    }

    /// Returns the last sequence number that the stream of the envelope's subject will have once it has
    /// stored every message accepted so far, including all earlier ones of this connection. The envelope is
    /// sent in a way that no stream stores it. `None` if the stream refuses it for another reason that
    /// concerns the envelope or the subject.
    pub(crate) async fn last_accepted(
        &self,
        session: &Session,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Option<Accepted>, PublishError> {
        let headers = wire::probe_headers(envelope, self.expected_stream())?;
        let message = check_size(session, envelope, headers)?;
        let answer = match self.send(session, envelope, message, deadline).await {
            Err(PublishError::EndsConnection { .. }) => return Ok(None),
            answer => answer?,
        };
        let answered = wire::acknowledgement(&answer, None);
        if matches!(&answered, Ok(_) | Err(PublishError::Refused(_))) {
            self.jetstream_answered();
        }
        match answered {
            Ok(stored) => {
                warn!(stream = %stored.stream, sequence = stored.sequence,
                    "the stream has stored a message that expected an impossible last sequence");
                Ok(Some(Accepted {
                    sequence: stored.sequence,
                    stream: Some(stored.stream),
                }))
            }
            Err(PublishError::Refused(refusal)) => match wire::last_sequence(&refusal) {
                Some(sequence) => Ok(Some(Accepted {
                    sequence,
                    stream: wire::answering_stream(&answer),
                })),
                None => {
                    let error = PublishError::Refused(refusal);
                    let will_pass = error.scope() == Scope::Broker || error.is_transient();
                    if will_pass { Err(error) } else { Ok(None) }
                }
            },
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn publish_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let message = self.message(session, envelope)?;
        let answer = self.send(session, envelope, message, deadline).await?;
        match self.acknowledgement(&answer) {
            Err(error) => Err(Box::pin(self.explained(session, envelope, error, deadline)).await),
            acknowledged => acknowledged,
        }
    }

    /// Returns the error of a publish, with the reason if nothing received its subject.
    async fn explained(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope,
        error: PublishError,
        deadline: Instant,
    ) -> PublishError {
        if error == PublishError::NoStream {
            let subject = envelope.subject();
            return self.why_no_responders(session, subject, deadline).await;
        }
        wire::blame_headers(error, envelope)
    }
}

/// Returns the headers, or an error if the broker does not accept a message of this size.
fn check_size(
    session: &Session,
    envelope: &Envelope,
    (headers, header_bytes): (HeaderMap, usize),
) -> Result<OutMessage, PublishError> {
    let bytes = header_bytes + envelope.payload().len();
    let limit = session.client.max_payload();
    if bytes > limit {
        return Err(PublishError::TooLarge { bytes, limit });
    }
    if header_bytes > MAX_HEADER_BYTES {
        return Err(PublishError::HeadersTooLarge {
            bytes: header_bytes,
            limit: MAX_HEADER_BYTES,
        });
    }
    Ok(OutMessage { headers, bytes })
}

/// The answer of a stream that accepted no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its last sequence number, once it has stored every message that it has accepted.
    pub(crate) sequence: u64,
    /// Its name, unless the server leaves it out.
    pub(crate) stream: Option<String>,
}

/// The headers of a message, and its size with them.
pub(crate) struct OutMessage {
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: usize,
}
