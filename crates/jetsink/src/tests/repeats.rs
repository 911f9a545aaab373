//! A caller that repeats an emit, and one that asks before it accepts work. Paused time, except with a spool.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::simulated_broker::Simulated;
use crate::outcome::{Acknowledgement, Delivery, EmitError, Known, PublishError, Unavailable};
use crate::{
    Envelope, MessageId, Publisher, Sink, SinkSettings, SpoolSettings, Subject, circuit::State,
};

fn envelope() -> Envelope {
    Envelope::new(Subject::new("a").unwrap(), "x".into())
}

/// A sink that spools each event: there is no connection.
pub(super) async fn spooling_sink(folder: &Path) -> Sink<Simulated> {
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder);
    let sink = Sink::with_spool(broker, SinkSettings::default(), spool);
    sink.await.unwrap()
}

/// A stream with a duplicate window. It loses the acknowledgement of each message that it stores.
#[derive(Clone, Default)]
struct LosesAcks(Arc<Mutex<Vec<String>>>);

impl Publisher for LosesAcks {
    async fn publish(
        &self,
        envelope: &Envelope,
        _: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let id = envelope.message_id().unwrap().to_string();
        let mut ids = self.0.lock().unwrap();
        if let Some(at) = ids.iter().position(|stored| *stored == id) {
            let mut ack = Acknowledgement::new("S", at as u64 + 1);
            ack.duplicate = true;
            return Ok(ack);
        }
        ids.push(id);
        Err(PublishError::ConnectionLost)
    }
}

#[tokio::test(start_paused = true)]
async fn identified_event_is_stored_once_over_several_emits() {
    let stream = LosesAcks::default();
    let settings = SinkSettings::default().sink_id("me").unwrap();
    let sink = Sink::new(stream.clone(), settings);
    let event = sink.identify(envelope());
    let id = event.message_id().unwrap().clone();
    assert!(id.as_str().starts_with("me."), "{id}");

    let error = sink.emit(event.clone()).await.unwrap_err();
    assert_eq!(error.known(), Known::OutcomeUnknown);
    assert_eq!(error.message_id(), Some(&id));
    sleep(error.retry_after().unwrap()).await;
    let delivery = sink.emit(event).await.unwrap();
    assert!(matches!(delivery, Delivery::Stored(ack) if ack.duplicate));
    assert_eq!(*stream.0.lock().unwrap(), [id.to_string()]);
}

#[tokio::test(start_paused = true)]
async fn ids_for_repeats_differ_and_one_of_the_caller_stays() {
    let sink = Sink::new(LosesAcks::default(), SinkSettings::default());
    let ids = [sink.identify(envelope()), sink.identify(envelope())];
    assert_ne!(ids[0].message_id(), ids[1].message_id());
    let own = MessageId::new("mine").unwrap();
    let event = sink.identify(envelope().with_message_id(own.clone()));
    assert_eq!(event.message_id(), Some(&own));
}

#[tokio::test]
async fn event_that_may_be_spooled_has_its_id_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling_sink(folder.path()).await;
    // A panic of the spool's thread leaves it unknown whether the event is on the disk.
    sink.spool()
        .unwrap()
        .observe(|_| panic!("a test ends the thread"))
        .unwrap();
    let event = sink.identify(envelope());
    let error = sink.emit(event.clone()).await.unwrap_err();
    assert_eq!(error.known(), Known::OutcomeUnknown, "{error}");
    assert_eq!(error.message_id(), event.message_id());
    assert!(
        matches!(&error, EmitError::Spool(failed) if failed.subject == *event.subject()),
        "{error}"
    );
    assert!(error.to_string().contains("subject a"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn question_whether_the_sink_accepts_events_changes_nothing() {
    let broker = Simulated::new();
    let sink = Sink::new(broker.clone(), SinkSettings::default());
    assert_eq!(sink.accepts(), Ok(()));

    broker.disconnect();
    assert_eq!(sink.accepts(), Err(Unavailable::NotConnected));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sink.accepts(), Err(Unavailable::NotConnected));

    broker.connect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(sink.accepts(), Ok(()), "a probe is due");
    assert!(matches!(sink.state(), State::Reconnecting { .. }));
    assert_eq!(sink.accepts(), Ok(()), "and the question does not take it");
    sink.emit(envelope()).await.unwrap();
    assert_eq!(sink.state(), State::Connected);

    sink.close(Duration::ZERO).await;
    assert_eq!(sink.accepts(), Err(Unavailable::Closed));
}

#[tokio::test(start_paused = true)]
async fn sink_with_an_open_circuit_does_not_accept_events() {
    let sink = Sink::new(LosesAcks::default(), SinkSettings::default());
    sink.emit(envelope()).await.unwrap_err();
    let refused = sink.accepts().unwrap_err();
    assert!(matches!(refused, Unavailable::CircuitOpen(open) if !open.probing));
    assert!(matches!(
        sink.emit(envelope()).await,
        Err(EmitError::CircuitOpen(_))
    ));
}

#[tokio::test]
async fn sink_with_a_spool_accepts_events_until_it_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool);
    let sink = sink.await.unwrap();
    assert_eq!(sink.accepts(), Ok(()));
    sink.spool()
        .unwrap()
        .observe(|_| panic!("a test ends the thread"))
        .unwrap();
    sink.emit(envelope()).await.unwrap_err();
    // The thread fails, and the circuit follows the connection, in a moment.
    let answers = async |answer| {
        while sink.accepts() != answer {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let bound = Duration::from_secs(60);
    let failed = timeout(bound, answers(Err(Unavailable::SpoolFailed)));
    failed.await.unwrap();
    broker.connect();
    timeout(bound, answers(Ok(()))).await.unwrap();
}

/// It accepted events until the bytes in the spool were exactly the limit, which events of most sizes never reach.
#[tokio::test]
async fn sink_with_a_spool_accepts_no_event_after_one_found_no_room() {
    const LIMIT: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let broker = Simulated::new();
    broker.disconnect();
    let spool = SpoolSettings::new(folder.path())
        .limit_bytes(LIMIT)
        .unwrap();
    let sink = Sink::with_spool(broker.clone(), SinkSettings::default(), spool);
    let sink = sink.await.unwrap();
    let of = |bytes: usize| Envelope::new(Subject::new("a").unwrap(), vec![b'x'; bytes].into());
    sink.emit(of(20_000)).await.unwrap_err();
    assert_eq!(sink.accepts(), Ok(()), "it is larger than the limit");
    assert!(!sink.spool().unwrap().status().is_full);
    let full = loop {
        assert_eq!(sink.accepts(), Ok(()));
        if let Err(error) = sink.emit(of(601)).await {
            break error;
        }
    };
    assert!(full.to_string().contains("the spool is full"), "{full}");
    let used_bytes = sink.spool().unwrap().status().used_bytes;
    assert!(used_bytes < LIMIT, "{used_bytes}");
    let is_full = Err(Unavailable::SpoolFull {
        used_bytes,
        limit_bytes: LIMIT,
    });
    assert_eq!(sink.accepts(), is_full);
    assert!(sink.spool().unwrap().status().is_full);
    sink.emit(of(0)).await.unwrap();
    assert_eq!(sink.accepts(), Ok(()), "a smaller event found room");

    sink.emit(of(601)).await.unwrap_err();
    sink.accepts().unwrap_err();
    broker.connect();
    let drained = async {
        while sink.spool().unwrap().status().used_bytes > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), drained).await.unwrap();
    broker.disconnect();
    assert_eq!(sink.accepts(), Ok(()), "the events have left");
}

#[tokio::test]
async fn second_observer_of_a_spool_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let spool = SpoolSettings::new(folder.path());
    let sink = Sink::with_spool(Simulated::new(), SinkSettings::default(), spool);
    let sink = sink.await.unwrap();
    sink.spool().unwrap().observe(|_| {}).unwrap();
    sink.spool().unwrap().observe(|_| {}).unwrap_err();
}

/// It waited for the replay that the first one had ended.
#[tokio::test]
async fn second_close_returns_at_once_with_events_in_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let sink = spooling_sink(folder.path()).await;
    sink.emit(envelope()).await.unwrap();
    let first = sink.close(Duration::ZERO).await;
    let second = sink.close(Duration::from_secs(3_600));
    let second = timeout(Duration::from_secs(60), second).await;
    assert_eq!(second.unwrap(), first);
    assert_eq!(first.spooled, 1);
}
