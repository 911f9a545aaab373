//! Single failures: the ones that are retried, and the scope of their errors.

use super::*;
use crate::Scope;
use crate::outcome::{Known, Refusal};

#[tokio::test(start_paused = true)]
async fn refusal_affects_its_own_event_only() {
    let refused = Fate::Refused { transient: false };
    let broker = Simulated::with([Fate::Acknowledged { after: 3 }, refused]);
    let results = send(&sink(&broker), 1, 1).await;
    assert!(results[0].is_ok());
    let results = send(&sink(&broker), 1, 1).await;
    let error = results[0].clone().unwrap_err();
    assert_eq!(
        (error.scope(), error.known()),
        (Scope::Subject, Known::Refused)
    );
}

/// Otherwise a caller that stops when the broker is away stops because of one subject.
#[tokio::test(start_paused = true)]
async fn subject_that_fails_after_a_lost_connection_is_no_failure_of_the_broker() {
    let lost = Fate::EndsConnection {
        stored: false,
        news_after: 1,
    };
    let broker = Simulated::with([lost, Fate::Refused { transient: false }]);
    let results = send(&sink(&broker), 1, 1).await;
    let error = results[0].clone().unwrap_err();
    assert_eq!(
        (error.scope(), error.known()),
        (Scope::Subject, Known::OutcomeUnknown)
    );
}

#[tokio::test(start_paused = true)]
async fn transient_refusal_is_retried() {
    let momentary = Fate::Refused { transient: true };
    let broker = Simulated::with([momentary, momentary]);
    let results = send(&sink(&broker), 1, 8).await;
    assert!(results[0].is_ok(), "{results:?}");
    assert_eq!(broker.stream(), ["0"]);
}

/// The waits of its retries would delay all other subjects, again and again.
#[tokio::test(start_paused = true)]
async fn probe_of_a_failing_subject_is_not_retried() {
    let broker = Simulated::with([Fate::Refused { transient: true }; 4]);
    let sink = sink(&broker);
    let started = Instant::now();
    assert!(send(&sink, 1, 1).await[0].is_err());
    assert_eq!(started.elapsed(), Duration::from_millis(100 + 400));
    sleep(Duration::from_secs(10)).await;
    let started = Instant::now();
    assert!(send(&sink, 1, 1).await[0].is_err());
    assert_eq!(started.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(10)).await;
    assert!(send(&sink, 1, 1).await[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn first_failure_is_the_result_without_patience() {
    let broker = Simulated::with([Fate::EndsConnection {
        stored: true,
        news_after: 1,
    }]);
    let sink = sink(&broker);
    let mut pipeline = sink.pipeline(WindowSize::MIN);
    pipeline.push(envelope(0)).unwrap();
    let error = pipeline.next().await.unwrap().unwrap_err();
    assert_eq!(error.known(), Known::OutcomeUnknown);
    assert!(pipeline.next().await.is_none());
}

/// The retries of a probe stopped all subjects for 500 ms, again at each probe.
#[tokio::test(start_paused = true)]
async fn failed_probe_of_a_subject_is_not_retried_and_delays_no_other_event() {
    let refused = Fate::Refused { transient: true };
    let broker = Simulated::with([refused; 4]);
    let sink = sink(&broker);
    sink.emit(envelope(0)).await.unwrap_err();
    sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    let mut pipeline = sink.pipeline(WindowSize::new(4).unwrap());
    pipeline.push(envelope(1)).unwrap();
    let other = Subject::new("b").unwrap();
    pipeline.push(Envelope::new(other, "2".into())).unwrap();
    let probe = pipeline.next().await.unwrap().unwrap_err();
    assert_eq!(probe.scope(), Scope::Subject);
    pipeline.next().await.unwrap().unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(broker.stream(), ["2"]);
}

/// The retry of the first one opened a probe, and the others failed because of it with retries left.
#[tokio::test(start_paused = true)]
async fn events_of_a_subject_that_fail_together_are_retried_together() {
    let being_stored = Refusal {
        code: 10_158,
        text: String::new(),
    };
    for error in [PublishError::NoStream, PublishError::Refused(being_stored)] {
        let broker = Simulated::with([]);
        let until = Instant::now() + Duration::from_millis(50);
        broker.fails_until(until, error.clone());
        let events = (0..8).map(envelope);
        let results = send_all(&sink(&broker), events, 8, Duration::ZERO).await;
        assert!(results.iter().all(Result::is_ok), "{error}: {results:?}");
        assert_eq!(broker.stream(), in_order(8), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_broker_use_up_no_retry_of_a_subject() {
    let lost = Fate::EndsConnection {
        stored: false,
        news_after: 0,
    };
    let missing = Fate::Refused { transient: true };
    let broker = Simulated::with([lost, lost, lost, missing]);
    let results = send(&sink(&broker), 1, 1).await;
    assert!(results[0].is_ok(), "{results:?}");
}
