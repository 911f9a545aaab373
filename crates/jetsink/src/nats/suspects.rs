//! Tracks events that may be the reason why the server ended a connection. Pure: time is an argument.
//!
//! A server ends a connection that sends a message it can't accept, such as one over `max_payload`. It often
//! names the limit; then the largest event in flight breaks it, and events of that size are refused here from
//! then on. If the reason is lost, the events that were in flight at two endings are sent alone
//! ([`Caution::Alone`]). An event is refused after [`MAX_ENDINGS`] connections that ended right after it was sent
//! alone. Only endings count that can't have another cause: the connection had just answered a request, and the
//! next connection is to the same server process. So a restarted broker condemns no event.

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
const MAX_TIME_TO_END: Duration = Duration::from_secs(1);

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
    /// With no other message in flight.
    Alone {
        /// After a request that the server answers, so that the end of the connection counts.
        checked: bool,
    },
}

/// The state of the connection before an event was sent alone.
#[derive(Debug, Clone)]
pub(crate) struct SentAlone {
    pub(crate) at: Instant,
    /// The server process; `None` if the server had not just answered.
    pub(crate) server: Option<Arc<str>>,
}

/// Stands for a request among the events that test a limit.
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
    /// The server process whose connection ended; it counts if that process is found running.
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
            Caution::Alone {
                checked: suspect.endings > ENDINGS_BEFORE_ALONE,
            }
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
        self.count(&table);
    }

    /// Learns that the server refuses messages of this length: payload and headers, or the subject.
    pub(crate) fn learned(&self, limit: Limit, length: usize, server: Arc<str>, now: Instant) {
        let mut table = self.lock();
        let known = table.limit(limit);
        let refused = known.as_ref().map_or(length, |l| l.refused.min(length));
        let trust = known.as_ref().map_or(MIN_TRUST, |l| l.trust);
        *known = Some(LearnedLimit {
            server,
            refused,
            until: now + trust,
            trust,
            tester: None,
        });
        self.count(&table);
    }

    /// Records a new connection to this server process: its earlier endings were not its own end. Another process
    /// may have other limits.
    pub(crate) fn connected(&self, server: &str) {
        if self.is_empty() {
            return;
        }
        let mut table = self.lock();
        for suspect in table.events.values_mut() {
            if suspect.unconfirmed.take().as_deref() == Some(server) {
                suspect.counted += 1;
            }
        }
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
mod tests {
    use super::*;
    use crate::Subject;

    fn event(payload: &'static str) -> Envelope {
        Envelope::new(Subject::new("a").unwrap(), payload.into())
    }

    #[test]
    fn request_over_a_learned_limit_is_sent_only_to_test_it() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        assert!(suspects.check_request(400, now).is_ok());
        suspects.learned(Limit::Payload, 400, "server".into(), now);
        assert!(suspects.check_request(400, now).is_err());
        assert!(suspects.check_request(399, now).is_ok());
        let later = now + MIN_TRUST;
        assert!(suspects.check_request(400, later).is_ok());
        suspects.learned(Limit::Payload, 400, "server".into(), later);
        assert!(suspects.check_request(400, later + MIN_TRUST).is_err());
        suspects.connected("another");
        assert!(suspects.check_request(400, later).is_ok());
    }

    /// Sends an event alone, and the connection ends.
    fn end_alone(suspects: &Suspects, envelope: &Envelope, server: &str, now: Instant) {
        let sent = SentAlone {
            at: now,
            server: Some(server.into()),
        };
        suspects.ended(envelope, Some(&sent), now);
    }

    #[test]
    fn event_is_refused_after_three_endings_with_it_alone_on_a_running_server() {
        let now = Instant::now();
        let suspects = Suspects::default();
        let (bad, good) = (event("bad"), event("good"));
        assert_eq!(suspects.caution(&bad, 3, now), Ok(Caution::None));
        for _ in 0..ENDINGS_BEFORE_ALONE {
            assert_eq!(suspects.caution(&bad, 3, now), Ok(Caution::None));
            suspects.ended(&bad, None, now);
        }
        let alone = |checked| Ok(Caution::Alone { checked });
        assert_eq!(suspects.caution(&bad, 3, now), alone(false));
        suspects.ended(&bad, None, now);
        for _ in 0..MAX_ENDINGS {
            assert_eq!(suspects.caution(&bad, 3, now), alone(true));
            end_alone(&suspects, &bad, "server", now);
            suspects.connected("server");
        }
        assert_eq!(
            suspects.caution(&bad, 3, now),
            Err(ends_connection(3, ConnectionEnd::Unexplained))
        );
        assert_eq!(suspects.caution(&good, 4, now), Ok(Caution::None));
        let later = now + SENTENCE;
        assert_eq!(suspects.caution(&bad, 3, later), Ok(Caution::None));
        assert_eq!(suspects.known.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn endings_with_another_explanation_condemn_no_event() {
        let now = Instant::now();
        let healthy = event("healthy");
        let suspects = Suspects::default();
        for number in 0..20 {
            // The server was started again.
            end_alone(&suspects, &healthy, &format!("server {number}"), now);
            suspects.connected(&format!("server {}", number + 1));
            // The end came late.
            let sent = SentAlone {
                at: now,
                server: Some("same".into()),
            };
            let late = now + MAX_TIME_TO_END + Duration::from_millis(1);
            suspects.ended(&healthy, Some(&sent), late);
            suspects.connected("same");
            // The server had not just answered, or other events were in flight.
            let sent = SentAlone {
                at: now,
                server: None,
            };
            suspects.ended(&healthy, Some(&sent), now);
            suspects.ended(&healthy, None, now);
            suspects.connected("same");
        }
        assert!(suspects.caution(&healthy, 7, now).is_ok());
        suspects.answered(&healthy, 7);
        assert_eq!(suspects.caution(&healthy, 7, now), Ok(Caution::None));
        assert_eq!(suspects.known.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn learned_limit_refuses_larger_events_and_is_tested_again() {
        let now = Instant::now();
        let suspects = Suspects::default();
        let event = event("x");
        suspects.learned(Limit::Payload, 5_000, "server".into(), now);
        suspects.learned(Limit::Payload, 4_500, "server".into(), now);
        suspects.connected("server");
        let refused = Err(ends_connection(4_500, ConnectionEnd::MaxPayload));
        assert_eq!(suspects.caution(&event, 4_500, now), refused);
        assert_eq!(suspects.caution(&event, 4_499, now), Ok(Caution::None));
        let later = now + MIN_TRUST;
        // The event may be held back before it is sent: it is asked for more than once.
        for _ in 0..3 {
            assert_eq!(suspects.caution(&event, 4_500, later), Ok(Caution::None));
        }
        let other = self::event("y");
        assert_eq!(suspects.caution(&other, 4_500, later), refused);
        suspects.learned(Limit::Payload, 4_500, "server".into(), later);
        assert_eq!(suspects.caution(&event, 4_500, later), refused);
        let later = later + 2 * MIN_TRUST;
        assert_eq!(suspects.caution(&event, 4_500, later), Ok(Caution::None));
        suspects.answered(&event, 4_500);
        assert_eq!(suspects.caution(&other, 9_000, later), Ok(Caution::None));
        suspects.learned(Limit::Payload, 4_500, "server".into(), later);
        suspects.connected("server after a restart");
        assert_eq!(suspects.caution(&event, 4_500, later), Ok(Caution::None));
        assert_eq!(suspects.known.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn tracked_events_are_bounded() {
        let now = Instant::now();
        let suspects = Suspects::default();
        for number in 0..MAX_SUSPECTS + 10 {
            let subject = Subject::new(number.to_string()).unwrap();
            suspects.ended(&Envelope::new(subject, "".into()), None, now);
        }
        assert_eq!(suspects.known.load(Ordering::Relaxed), MAX_SUSPECTS);
        suspects.ended(&event("x"), None, now + SUSPICION);
        assert_eq!(suspects.known.load(Ordering::Relaxed), 1);
    }
}
