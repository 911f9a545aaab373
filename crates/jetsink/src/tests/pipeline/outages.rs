//! Streams without a leader, and the maximum outage.

use super::*;
use crate::outcome::Refusal;

/// The failures of a stream that end by themselves: an election, an offline stream, a full queue.
fn stream_outages() -> Vec<PublishError> {
    let refused = |code| {
        PublishError::Refused(Refusal {
            code,
            text: String::new(),
        })
    };
    let codes = [10_118, 10_167, 10_194].into_iter().map(refused);
    codes
        .chain([PublishError::NoLeader, PublishError::NoResponders])
        .collect()
}

#[tokio::test(start_paused = true)]
async fn stream_without_a_leader_for_seconds_loses_no_event_of_a_pipeline() {
    for error in stream_outages() {
        let broker = Simulated::with([]);
        let until = Instant::now() + Duration::from_secs(9);
        broker.fails_until(until, error.clone());
        let events = (0..40).map(envelope);
        let results = send_all(&sink(&broker), events, 8, Duration::from_secs(30)).await;
        assert!(results.iter().all(Result::is_ok), "{error}: {results:?}");
        assert_eq!(broker.stream(), in_order(40), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_that_stays_away_costs_one_maximum_outage_and_no_event_of_another_subject() {
    let max_outage = Duration::from_secs(30);
    let broker = Simulated::with([]);
    let started = Instant::now();
    let away = started + Duration::from_secs(3_600);
    broker.fails_until(away, PublishError::NoLeader);
    let of = |number: usize| {
        let subject = Subject::new(["a", "b"][number % 2]).unwrap();
        Envelope::new(subject, number.to_string().into())
    };
    let results = send_all(&sink(&broker), (0..200).map(of), 8, max_outage).await;
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), number % 2 == 1, "{number}: {result:?}");
    }
    let took = started.elapsed();
    assert!(took >= max_outage && took < max_outage * 3 / 2, "{took:?}");
}

/// Each subject that had not failed before stopped all others for a maximum outage of its own.
#[tokio::test(start_paused = true)]
async fn streams_that_stay_away_cost_one_maximum_outage_together() {
    let max_outage = Duration::from_secs(30);
    for limit in [max_outage, Duration::MAX] {
        let broker = Simulated::with([]);
        let started = Instant::now();
        let away = started + Duration::from_secs(86_400);
        broker.fails_until(away, PublishError::NoLeader);
        let of = |number: usize| {
            let subject = match number % 2 {
                0 => format!("a.{}", number / 2),
                _ => "b".to_owned(),
            };
            Envelope::new(Subject::new(subject).unwrap(), number.to_string().into())
        };
        let results = send_all(&sink(&broker), (0..400).map(of), 16, limit).await;
        for (number, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), number % 2 == 1, "{number}: {result:?}");
        }
        let (took, limit) = (started.elapsed(), limit.min(Duration::from_secs(600)));
        assert!(took >= limit && took < limit * 3 / 2, "{took:?}");
    }
}

/// A stream that never recovers used up the time of the others for good.
#[tokio::test(start_paused = true)]
async fn another_streams_election_is_waited_for_long_after_one_stayed_away() {
    let max_outage = Duration::from_secs(30);
    let broker = Simulated::with([]);
    let sink = sink(&broker);
    let mut pipeline = sink.pipeline(WindowSize::MIN).max_outage(max_outage);
    let mut result = async |subject| {
        let subject = Subject::new(subject).unwrap();
        pipeline.push(Envelope::new(subject, "x".into())).unwrap();
        pipeline.next().await.unwrap()
    };
    broker.fails_until(
        Instant::now() + Duration::from_secs(3_600),
        PublishError::NoLeader,
    );
    let started = Instant::now();
    for dead in ["a.1", "a.2", "a.3"] {
        result(dead).await.unwrap_err();
    }
    assert!(started.elapsed() < max_outage * 3 / 2);
    sleep(max_outage * 10).await;
    broker.fails_until(
        Instant::now() + Duration::from_secs(9),
        PublishError::NoLeader,
    );
    result("a.4").await.unwrap();
    // Its recovery shows that streams recover.
    broker.fails_until(
        Instant::now() + Duration::from_secs(9),
        PublishError::NoLeader,
    );
    result("a.5").await.unwrap();
}

/// It failed at once for ever, because its time had passed in the earlier outage.
#[tokio::test(start_paused = true)]
async fn election_is_waited_for_long_after_the_same_stream_stayed_away() {
    let max_outage = Duration::from_secs(30);
    let broker = Simulated::with([]);
    let sink = sink(&broker);
    let mut pipeline = sink.pipeline(WindowSize::MIN).max_outage(max_outage);
    let mut result = async || {
        pipeline.push(envelope(0)).unwrap();
        pipeline.next().await.unwrap()
    };
    let fails_for = |seconds| {
        let until = Instant::now() + Duration::from_secs(seconds);
        broker.fails_until(until, PublishError::NoLeader);
    };
    fails_for(60);
    let started = Instant::now();
    result().await.unwrap_err();
    assert!(started.elapsed() >= max_outage);
    sleep(max_outage * 10).await;
    // Closes the circuit. The pipeline does not see it.
    sink.emit(envelope(1)).await.unwrap();
    fails_for(9);
    result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failing_subject_delays_no_event_of_another_in_the_window() {
    let fails = |broker: &Simulated, error| {
        broker.fails_until(Instant::now() + Duration::from_secs(20), error);
    };
    let errors = stream_outages().into_iter().chain([PublishError::NoStream]);
    for error in errors {
        let broker = Simulated::with([]);
        fails(&broker, error.clone());
        let sink = sink(&broker);
        let window = WindowSize::new(64).unwrap();
        let mut pipeline = sink.pipeline(window).max_outage(Duration::from_secs(30));
        for number in 0..64 {
            let subject = if number % 8 == 0 { "a" } else { "b" };
            let subject = Subject::new(subject).unwrap();
            let event = Envelope::new(subject, number.to_string().into());
            pipeline.push(event).unwrap();
        }
        let soon = Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, pipeline.next()).await.is_err());
        let others = (0..64).filter(|number| number % 8 != 0);
        let others: Vec<String> = others.map(|number: usize| number.to_string()).collect();
        assert_eq!(broker.stream(), others, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_pipeline_with_a_delayed_subject_returns_all_results() {
    let broker = Simulated::with([]);
    broker.fails_until(
        Instant::now() + Duration::from_secs(20),
        PublishError::NoLeader,
    );
    let sink = sink(&broker);
    let window = WindowSize::new(4).unwrap();
    let mut pipeline = sink.pipeline(window).max_outage(Duration::from_secs(30));
    pipeline.push(envelope(0)).unwrap();
    let soon = Duration::from_millis(1);
    assert!(tokio::time::timeout(soon, pipeline.next()).await.is_err());
    pipeline.stop();
    assert!(pipeline.next().await.unwrap().is_err());
    assert!(pipeline.next().await.is_none());
}
