//! The order of the events, and the window.

use proptest::prelude::*;

use super::*;
use crate::outcome::Known;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => (0..5_u64).prop_map(|after| Fate::Acknowledged { after }),
        1 => (any::<bool>(), 0..20_u64)
            .prop_map(|(stored, news_after)| Fate::EndsConnection { stored, news_after }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_event_is_stored_once_in_order_over_lost_connections(
        fates in proptest::collection::vec(fate(), 0..120),
        count in 1..80_usize,
        window in 1..40_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let broker = Simulated::with(fates);
        let results = runtime.block_on(async { send(&sink(&broker), count, window).await });
        prop_assert_eq!(results.iter().filter(|r| r.is_ok()).count(), count);
        prop_assert_eq!(broker.stream(), in_order(count));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn each_event_is_stored_once_in_the_order_of_its_subject_beside_a_stream_that_comes_and_goes(
        fates in proptest::collection::vec(fate(), 0..120),
        outages in proptest::collection::vec((0..3_000_u64, 0..1_500_u64), 1..4),
        subjects in proptest::collection::vec(0..3_usize, 1..80),
        window in 1..40_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let broker = Simulated::with(fates);
        let events: Vec<Envelope> = subjects.iter().enumerate().map(|(number, subject)| {
            let subject = Subject::new(["a", "a.1", "b"][*subject]).unwrap();
            Envelope::new(subject, number.to_string().into())
        }).collect();
        let results = runtime.block_on(async {
            let now = Instant::now();
            let after = |millis| now + Duration::from_millis(millis);
            let during = outages.iter().map(|(from, length)| after(*from)..after(from + length));
            let error = PublishError::NoLeader;
            broker.0.lock().unwrap().outage = Some(Outage { during: during.collect(), error });
            send_all(&sink(&broker), events.into_iter(), window, Duration::MAX).await
        });
        prop_assert!(results.iter().all(Result::is_ok), "{:?}", results);
        let stored: Vec<usize> = broker.stream().iter().map(|text| text.parse().unwrap()).collect();
        prop_assert_eq!(stored.len(), subjects.len());
        for of in 0..3 {
            let in_order: Vec<usize> = (0..subjects.len()).filter(|n| subjects[*n] == of).collect();
            let stored = stored.iter().copied().filter(|number| subjects[*number] == of);
            prop_assert_eq!(stored.collect::<Vec<_>>(), in_order);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn window_uses_one_connection_until_its_failures_are_known() {
    // 0 is acknowledged and makes room for 2 while a new connection exists already, but the loss of 1 is
    // not known yet.
    let lost = Fate::EndsConnection {
        stored: false,
        news_after: 10,
    };
    let broker = Simulated::with([Fate::Acknowledged { after: 5 }, lost]);
    let results = send(&sink(&broker), 3, 2).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(broker.stream(), in_order(3));
}

#[tokio::test(start_paused = true)]
async fn stopped_pipeline_sends_no_event_and_returns_all_results() {
    let broker = Simulated::with([Fate::Acknowledged { after: 5 }]);
    let sink = sink(&broker);
    let mut pipeline = sink.pipeline(WindowSize::new(4).unwrap());
    pipeline.push(envelope(0)).unwrap();
    // Sends the first, and is dropped before its answer.
    assert!(
        tokio::time::timeout(Duration::from_millis(1), pipeline.next())
            .await
            .is_err()
    );
    pipeline.push(envelope(1)).unwrap();
    pipeline.stop();
    assert!(pipeline.push(envelope(2)).is_err());
    assert!(pipeline.next().await.unwrap().is_ok());
    assert_eq!(
        pipeline.next().await.unwrap().unwrap_err().known(),
        Known::NotSent
    );
    assert!(pipeline.next().await.is_none());
    assert_eq!(broker.stream(), ["0"]);
}

/// Found by the random histories of replay: events pushed before a failure was known were sent once the
/// result of that failure had been taken.
#[tokio::test(start_paused = true)]
async fn events_after_a_failure_of_their_subject_are_held_back_for_retries() {
    let refused = Fate::Refused { transient: false };
    let broker = Simulated::with([refused]);
    let sink = sink(&broker);
    let window = WindowSize::new(3).unwrap();
    let mut pipeline = sink.direct().pipeline(window).holding_failed_subjects();
    pipeline.push(envelope(0)).unwrap();
    pipeline.push(envelope(1)).unwrap();
    assert_eq!(
        pipeline.next().await.unwrap().unwrap_err().known(),
        Known::Refused
    );
    pipeline.push(envelope(2)).unwrap();
    let _ = pipeline.next().await.unwrap(); // it was sent already
    assert_eq!(
        pipeline.next().await.unwrap().unwrap_err().known(),
        Known::NotSent
    );
    // No entry of the subject is left: the next attempt.
    tokio::time::sleep(Duration::from_secs(1)).await;
    pipeline.push(envelope(2)).unwrap();
    assert!(pipeline.next().await.unwrap().is_ok());
}

/// Each failure of one tenant voided the measurement, so the window stayed at 16 for all.
#[tokio::test(start_paused = true)]
async fn window_becomes_wide_beside_a_failing_subject() {
    let broker = Simulated::with(std::iter::repeat_n(Fate::Acknowledged { after: 1 }, 20_000));
    let sink = sink(&broker);
    let mut pipeline = sink.pipeline(WindowSize::new(1_024).unwrap());
    pipeline = pipeline.adaptive();
    let mut widest = 0;
    for number in 0..10_000 {
        while !pipeline.has_room() {
            let _ = pipeline.next().await.unwrap();
        }
        widest = widest.max(pipeline.window());
        let next = if number % 10 == 0 {
            Envelope::new(Subject::new(REFUSED).unwrap(), "x".into())
        } else {
            envelope(number)
        };
        pipeline.push(next).unwrap();
    }
    assert!(widest > 200, "{widest}");
}

#[tokio::test(start_paused = true)]
async fn event_that_is_held_back_again_and_again_is_sent_in_its_order() {
    let broker = Simulated::with([Fate::HeldBack; 8 * 20]);
    let events = (0..40).map(envelope);
    let results = send_all(&sink(&broker), events, 8, Duration::ZERO).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(broker.stream(), in_order(40));
}
