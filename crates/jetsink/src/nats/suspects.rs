//! Tracks events that may be the reason why the server ended a connection. Pure: time is an argument.
//!
//! A server ends a connection that sends a message it can't accept, such as one over `max_payload`. It often
//! names the limit; then the largest event in flight breaks it, and events of that size are refused here from
//! then on. If the reason is lost, the events that were in flight at two endings are sent alone
//! ([`Caution::Alone`], `alone`). An event is refused after [`MAX_ENDINGS`] connections that ended right after it was
//! sent alone. Only endings count that can't have another cause: the server had just answered a request over the
//! connection, answered none after the event, and named no other reason; and the same server process answers a
//! request over the next connection ([`Suspects::confirm`]). Any later answer clears the event. So a restarted broker
//! condemns no event, and a network that cuts connections only if it does so three times within a round trip of the event.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::wire::Limit;
use crate::message::envelope::Envelope;
use crate::outcome::{ConnectionEnd, PublishError};
use crate::sync::lock;

/// The number of connections that end with the event alone in flight before it is refused.
const MAX_ENDINGS: u32 = 3;

/// The number of endings after which the events in flight are sent alone.
const ENDINGS_BEFORE_ALONE: u32 = 2;

/// A server ends the connection at once. An ending that comes later has another cause.
pub(super) const MAX_TIME_TO_END: Duration = Duration::from_secs(1);

/// The time for which an event stays a suspect after an ending.
const SUSPICION: Duration = Duration::from_secs(60);

/// The time for which a condemned event is refused without another attempt.
const SENTENCE: Duration = Duration::from_secs(600);

/// The maximum number of events that are tracked.
const MAX_SUSPECTS: usize = 32_768;

/// The first and the longest time for which a learned limit is trusted. Then one event tests it again.
const MIN_TRUST: Duration = Duration::from_secs(10);
const MAX_TRUST: Duration = Duration::from_secs(600);

/// How an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caution {
    None,
    /// With no other unprocessed message in flight.
    Alone,
}

/// The state of the connection before an event was sent alone.
#[derive(Debug, Clone)]
pub(crate) struct SentAlone {
    pub(crate) at: Instant,
    /// The server process; `None` if the server had not just answered.
    pub(crate) server: Option<Arc<str>>,
}

/// The key of a request that tests a limit, in the place of an event's.
const REQUEST: u64 = 0;

#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// The number of suspects and learned limits; keeps the steady path off the lock.
    known: AtomicUsize,
    keys: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// No suspect or limit expires sooner.
    next_expiry: Option<Instant>,
    events: HashMap<u64, Suspect>,
    payload: Option<LearnedLimit>,
    control_line: Option<LearnedLimit>,
}

#[derive(Debug)]
struct Suspect {
    /// Endings of connections with the event in flight.
    endings: u32,
    /// Endings that no other cause explains.
    counted: u32,
    /// The server process whose connection ended; it counts if that process answers over another one.
    unconfirmed: Option<Arc<str>>,
    last: Instant,
}

/// A limit that the server named when it ended a connection.
#[derive(Debug, Clone)]
struct LearnedLimit {
    /// The server process.
    server: Arc<str>,
    /// The smallest refused length. The limit itself is not known.
    refused: usize,
    until: Instant,
    trust: Duration,
    /// The event that tests the limit.
    tester: Option<u64>,
}

impl LearnedLimit {
    /// The time when it is forgotten: no event has tested it.
    fn expires(&self) -> Instant {
        self.until + self.trust
    }

    fn refuses(&self, event: u64, now: Instant) -> bool {
        now < self.until && self.tester != Some(event)
    }

    /// Lets one event test the limit, as often as it is sent.
    fn tested_by(&mut self, event: u64, now: Instant) {
        if self.tester != Some(event) {
            self.tester = Some(event);
            self.trust = (self.trust * 2).min(MAX_TRUST);
            self.until = now + self.trust;
        }
    }
}

impl Suspect {
    fn is_condemned(&self) -> bool {
        self.counted >= MAX_ENDINGS
    }

    fn expires(&self) -> Instant {
        let time = if self.is_condemned() {
            SENTENCE
        } else {
            SUSPICION
        };
        self.last + time
    }
}

impl Suspects {
    /// Whether no event needs caution.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.known.load(Ordering::Acquire) == 0
    }

    /// Returns how to send an event.
    ///
    /// # Errors
    /// [`PublishError::EndsConnection`] if it would end the connection.
    pub(crate) fn caution(
        &self,
        envelope: &Envelope,
        bytes: usize,
        now: Instant,
    ) -> Result<Caution, PublishError> {
        let mut table = self.lock();
        if table.expire(now) {
            self.count(&table);
        }
        let lengths = [
            (Limit::Payload, bytes),
            (Limit::ControlLine, envelope.subject().as_str().len()),
        ];
        let mut broken = Vec::new();
        for (limit, length) in lengths {
            let learned = table.limit(limit).as_ref();
            if let Some(learned) = learned.filter(|learned| length >= learned.refused) {
                if learned.refuses(self.key(envelope), now) {
                    return Err(ends_connection(bytes, limit.into()));
                }
                broken.push(limit);
            }
        }
        for limit in broken {
            if let Some(learned) = table.limit(limit) {
                learned.tested_by(self.key(envelope), now);
            }
        }
        if table.events.is_empty() {
            return Ok(Caution::None);
        }
        let key = self.key(envelope);
        let Some(suspect) = table.events.get(&key) else {
            return Ok(Caution::None);
        };
        if suspect.expires() <= now {
            table.events.remove(&key);
            self.count(&table);
            return Ok(Caution::None);
        }
        if suspect.is_condemned() {
            return Err(ends_connection(bytes, ConnectionEnd::Unexplained));
        }
        Ok(if suspect.endings < ENDINGS_BEFORE_ALONE {
            Caution::None
        } else {
            Caution::Alone
        })
    }

    /// Checks a request that is no event.
    ///
    /// # Errors
    /// [`PublishError::EndsConnection`] if it would end the connection.
    pub(crate) fn check_request(&self, bytes: usize, now: Instant) -> Result<(), PublishError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut table = self.lock();
        if table.expire(now) {
            self.count(&table);
        }
        let learned = table.payload.as_mut();
        let Some(learned) = learned.filter(|learned| bytes >= learned.refused) else {
            return Ok(());
        };
        if learned.refuses(REQUEST, now) {
            return Err(ends_connection(bytes, Limit::Payload.into()));
        }
        learned.tested_by(REQUEST, now);
        Ok(())
    }

    /// Counts the last ending of a suspect: this server process has just answered over another connection.
    ///
    /// # Errors
    /// [`PublishError::EndsConnection`] after [`MAX_ENDINGS`].
    pub(crate) fn confirm(
        &self,
        envelope: &Envelope,
        bytes: usize,
        server: &str,
    ) -> Result<(), PublishError> {
        let key = self.key(envelope);
        let mut table = self.lock();
        let Some(suspect) = table.events.get_mut(&key) else {
            return Ok(());
        };
        if suspect.unconfirmed.take().as_deref() == Some(server) {
            suspect.counted += 1;
        }
        if suspect.is_condemned() {
            return Err(ends_connection(bytes, ConnectionEnd::Unexplained));
        }
        Ok(())
    }

    /// Records the outcome of an event that was sent beside others.
    pub(crate) fn record<T>(
        &self,
        envelope: &Envelope,
        bytes: usize,
        outcome: &Result<T, PublishError>,
        now: fn() -> Instant,
    ) {
        match outcome {
            Ok(_)
            | Err(
                PublishError::PermissionDenied
                // The server answered a later message: it has processed this one.
                | PublishError::AckTimeout {
                    broker_answers: true,
                },
            ) => self.answered(envelope, bytes),
            Err(PublishError::ConnectionLost) => self.ended(envelope, None, now()),
            Err(_) => {}
        }
    }

    /// Records that the server answered an event: it does not end connections.
    pub(crate) fn answered(&self, envelope: &Envelope, bytes: usize) {
        if self.is_empty() {
            return;
        }
        let mut table = self.lock();
        // A learned limit was raised.
        let line = envelope.subject().as_str().len();
        table.payload.take_if(|learned| bytes >= learned.refused);
        table
            .control_line
            .take_if(|learned| line >= learned.refused);
        if !table.events.is_empty() {
            table.events.remove(&self.key(envelope));
        }
        self.count(&table);
    }

    /// Records that the connection ended before the server answered an event.
    pub(crate) fn ended(&self, envelope: &Envelope, alone: Option<&SentAlone>, now: Instant) {
        let key = self.key(envelope);
        let mut table = self.lock();
        if table.events.len() >= MAX_SUSPECTS && !table.events.contains_key(&key) {
            table.events.retain(|_, suspect| suspect.expires() > now);
            if table.events.len() >= MAX_SUSPECTS {
                return;
            }
        }
        let suspect = table.events.entry(key).or_insert(Suspect {
            endings: 0,
            counted: 0,
            unconfirmed: None,
            last: now,
        });
        if suspect.expires() <= now {
            (suspect.endings, suspect.counted) = (0, 0);
        }
        suspect.endings += 1;
        suspect.last = now;
        suspect.unconfirmed = alone
            .filter(|sent| now - sent.at <= MAX_TIME_TO_END)
            .and_then(|sent| sent.server.clone());
        let expires = suspect.expires();
        table.expires(expires);
        self.count(&table);
    }

    /// Learns that the server refuses messages of this length: payload and headers, or the subject.
    pub(crate) fn learned(&self, limit: Limit, length: usize, server: Arc<str>, now: Instant) {
        let mut table = self.lock();
        let known = table.limit(limit);
        let refused = known.as_ref().map_or(length, |l| l.refused.min(length));
        let trust = known.as_ref().map_or(MIN_TRUST, |l| l.trust);
        let known = known.insert(LearnedLimit {
            server,
            refused,
            until: now + trust,
            trust,
            tester: None,
        });
        let expires = known.expires();
        table.expires(expires);
        self.count(&table);
    }

    /// Records a new connection to this server process. Another process may have other limits.
    pub(crate) fn connected(&self, server: &str, now: Instant) {
        if self.is_empty() {
            return;
        }
        let mut table = self.lock();
        table.expire(now);
        table.payload.take_if(|learned| *learned.server != *server);
        table
            .control_line
            .take_if(|learned| *learned.server != *server);
        self.count(&table);
    }

    /// The event by its content: the caller may send it again with another message id.
    fn key(&self, envelope: &Envelope) -> u64 {
        let headers: Vec<_> = envelope.headers().iter().collect();
        let subject = envelope.subject().as_str();
        self.keys.hash_one((subject, headers, envelope.payload()))
    }

    fn count(&self, table: &Table) {
        let limits = [&table.payload, &table.control_line];
        let known = table.events.len() + limits.into_iter().flatten().count();
        self.known.store(known, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Table {
    /// Records the expiry of a suspect or a limit.
    fn expires(&mut self, at: Instant) {
        self.next_expiry = Some(self.next_expiry.map_or(at, |next| next.min(at)));
    }

    /// Forgets expired suspects and limits. Returns whether it looked at them.
    fn expire(&mut self, now: Instant) -> bool {
        if self.next_expiry.is_none_or(|next| now < next) {
            return false;
        }
        self.events.retain(|_, suspect| suspect.expires() > now);
        let mut limits = [&mut self.payload, &mut self.control_line];
        for limit in &mut limits {
            limit.take_if(|learned| learned.expires() <= now);
        }
        let limits = limits
            .into_iter()
            .flatten()
            .map(|learned| learned.expires());
        let events = self.events.values().map(Suspect::expires);
        self.next_expiry = limits.chain(events).min();
        true
    }

    fn limit(&mut self, limit: Limit) -> &mut Option<LearnedLimit> {
        match limit {
            Limit::Payload => &mut self.payload,
            Limit::ControlLine => &mut self.control_line,
        }
    }
}

impl From<Limit> for ConnectionEnd {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Payload => Self::MaxPayload,
            Limit::ControlLine => Self::MaxControlLine,
        }
    }
}

pub(crate) fn ends_connection(bytes: usize, reason: ConnectionEnd) -> PublishError {
    PublishError::EndsConnection { bytes, reason }
}

#[cfg(test)]
#[path = "../tests/suspects.rs"]
mod tests;
