//! Events and limits for which a server ends connections, with time as an argument.

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
    suspects.connected("another", later);
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
    let condemned = Err(ends_connection(3, ConnectionEnd::Unexplained));
    for ending in 1..=MAX_ENDINGS {
        assert_eq!(suspects.caution(&bad, 3, now), Ok(Caution::Alone));
        end_alone(&suspects, &bad, "server", now);
        suspects.connected("server", now);
        let confirmed = suspects.confirm(&bad, 3, "server");
        assert_eq!(confirmed.is_err(), ending == MAX_ENDINGS, "{ending}");
        // One ending counts once.
        assert_eq!(suspects.confirm(&bad, 3, "server"), confirmed);
    }
    assert_eq!(suspects.caution(&bad, 3, now).map(drop), condemned);
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
        let next = format!("server {}", number + 1);
        assert_eq!(suspects.confirm(&healthy, 7, &next), Ok(()));
        // The end came late.
        let sent = SentAlone {
            at: now,
            server: Some("same".into()),
        };
        let late = now + MAX_TIME_TO_END + Duration::from_millis(1);
        suspects.ended(&healthy, Some(&sent), late);
        assert_eq!(suspects.confirm(&healthy, 7, "same"), Ok(()));
        // No check was answered over the next connection.
        end_alone(&suspects, &healthy, "same", now);
        suspects.connected("same", now);
        // The server had not just answered, or other events were in flight.
        let sent = SentAlone {
            at: now,
            server: None,
        };
        suspects.ended(&healthy, Some(&sent), now);
        suspects.ended(&healthy, None, now);
        assert_eq!(suspects.confirm(&healthy, 7, "same"), Ok(()));
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
    suspects.connected("server", now);
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
    suspects.connected("server after a restart", later);
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

/// Publishes took the slow path for the life of the process.
#[test]
fn suspects_and_limits_expire_without_another_publish() {
    let now = Instant::now();
    let suspects = Suspects::default();
    suspects.ended(&event("lost"), None, now);
    suspects.ended(&event("later"), None, now + Duration::from_secs(30));
    let other = event("other");
    assert_eq!(
        suspects.caution(&other, 5, now + SUSPICION),
        Ok(Caution::None)
    );
    assert_eq!(suspects.known.load(Ordering::Relaxed), 1);
    let later = now + SUSPICION + Duration::from_secs(30);
    assert_eq!(suspects.caution(&other, 5, later), Ok(Caution::None));
    assert!(suspects.is_empty());

    suspects.learned(Limit::Payload, 5_000, "server".into(), now);
    suspects.connected("server", now + MIN_TRUST);
    assert!(!suspects.is_empty());
    suspects.connected("server", now + 2 * MIN_TRUST);
    assert!(suspects.is_empty());
}
