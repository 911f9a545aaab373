use super::*;
use jetsink::{FailedEmit, PublishError};

const WINDOW: Duration = Duration::from_secs(600);

fn id(text: &str) -> Key {
    key(text)
}

fn stored() -> Emitted {
    Ok(stored_at(7))
}

fn stored_at(sequence: u64) -> Delivery {
    let acknowledgement = jetsink::Acknowledgement::new("S", sequence);
    Delivery::from(acknowledgement)
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn repeat_of_an_answered_event_gets_the_same_answer_until_the_window_ends() {
    let start = Instant::now();
    let mut identities = Identities::new(100, WINDOW);
    assert!(matches!(identities.begin(id("a"), 1), Begin::First));
    identities.settle(id("a"), &stored(), start, || false);
    let again = identities.begin(id("a"), 1);
    assert!(matches!(again, Begin::Repeat(result) if result == stored_at(7)));
    assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
    identities.begin(id("b"), 1);
    identities.settle(id("b"), &stored(), at(start, 600), || false);
    assert!(
        matches!(identities.begin(id("a"), 2), Begin::First),
        "forgotten"
    );
}

#[tokio::test]
async fn repeat_in_flight_waits_for_the_result() {
    let mut identities = Identities::new(100, WINDOW);
    identities.begin(id("a"), 1);
    let Begin::InFlight(waiting) = identities.begin(id("a"), 1) else {
        panic!("not in flight");
    };
    assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
    identities.settle(id("a"), &stored(), Instant::now(), || false);
    assert_eq!(waiting.await.unwrap(), Ok(stored_at(7)));
}

#[tokio::test]
async fn event_that_was_not_sent_is_forgotten_and_its_repeat_is_a_first() {
    let mut identities = Identities::new(100, WINDOW);
    identities.begin(id("a"), 1);
    let Begin::InFlight(waiting) = identities.begin(id("a"), 1) else {
        panic!("not in flight");
    };
    identities.settle(id("a"), &Err(EmitError::Closed), Instant::now(), || false);
    assert!(waiting.await.unwrap().is_err());
    assert!(matches!(identities.begin(id("a"), 2), Begin::First));
}

#[tokio::test]
async fn abandoned_event_releases_its_repeats() {
    let mut identities = Identities::new(100, WINDOW);
    identities.begin(id("a"), 1);
    let Begin::InFlight(waiting) = identities.begin(id("a"), 1) else {
        panic!("not in flight");
    };
    identities.abandon(id("a"), Instant::now());
    assert!(waiting.await.is_err());
    assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
    assert!(matches!(identities.begin(id("a"), 1), Begin::First));
}

// A reviewer's finding: the second emit forgot the content, and other bytes passed as the same event.
#[test]
fn event_that_was_not_sent_after_an_unknown_outcome_keeps_its_content() {
    let start = Instant::now();
    let mut identities = Identities::new(100, WINDOW);
    let unknown = EmitError::Failed(Box::new(FailedEmit::new(
        jetsink::Subject::new("e").unwrap(),
        PublishError::ConnectionLost,
    )));
    for error in [unknown, EmitError::Closed, EmitError::Closed] {
        assert!(matches!(identities.begin(id("a"), 1), Begin::First));
        identities.settle(id("a"), &Err(error), start, || false);
        assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
    }
    identities.begin(id("b"), 1);
    identities.settle(id("b"), &stored(), at(start, 600), || false);
    assert!(
        matches!(identities.begin(id("a"), 2), Begin::First),
        "forgotten after the window"
    );
}

#[test]
fn spooled_event_is_remembered_while_the_spool_is_in_use() {
    let start = Instant::now();
    let mut identities = Identities::new(100, WINDOW);
    identities.begin(id("a"), 1);
    identities.settle(id("a"), &Ok(Delivery::Spooled), start, || true);
    let tick = |identities: &mut Identities, name: &str, seconds, in_use| {
        identities.begin(id(name), 1);
        identities.settle(id(name), &stored(), at(start, seconds), || in_use);
    };
    tick(&mut identities, "b", 700, true);
    let again = identities.begin(id("a"), 1);
    assert!(matches!(again, Begin::Repeat(result) if result == Delivery::Spooled));
    tick(&mut identities, "c", 1_400, false);
    assert!(matches!(identities.begin(id("a"), 1), Begin::First));
}

#[test]
fn call_asks_for_the_spool_once_and_extends_a_bounded_number() {
    let start = Instant::now();
    let count = 3 * MAX_EXTENDED;
    let mut identities = Identities::new(2 * count, WINDOW);
    for number in 0..count {
        identities.recall_waiting(id(&number.to_string()), 1, start);
    }
    let extended = |identities: &Identities| {
        let later = |(since, ..): &&(Instant, Key, u64)| *since > start;
        identities.order.iter().filter(later).count()
    };
    for call in 1..=4 {
        let asked = std::cell::Cell::new(0);
        let name = id(&format!("call {call}"));
        identities.begin(name, 1);
        identities.settle(name, &stored(), at(start, 600), || {
            asked.set(asked.get() + 1);
            true
        });
        assert_eq!(asked.get(), usize::from(call <= 3));
        let stored = call;
        let expected = stored + (call * MAX_EXTENDED).min(count);
        assert_eq!(extended(&identities), expected);
    }
    assert!(matches!(identities.begin(id("0"), 1), Begin::Repeat(_)));
}

// A reviewer's finding: repeats of events that an operator had deleted were answered from the file, for as long as the spool had
// others.
#[test]
fn recalled_event_outlives_its_window_only_if_it_is_in_the_spool() {
    let start = Instant::now();
    let mut identities = Identities::new(100, WINDOW);
    for name in ["gone", "waiting"] {
        identities.recall(id(name), 1, start, start);
    }
    identities.recall_waiting(id("waiting"), 1, start);
    identities.recall_waiting(id("waiting for long"), 1, start);
    let is_repeat = |identities: &mut Identities, name| {
        let begun = identities.begin(id(name), 1);
        matches!(begun, Begin::Repeat(result) if result == Delivery::Spooled)
    };
    assert!(is_repeat(&mut identities, "gone"));
    identities.begin(id("another"), 1);
    identities.settle(id("another"), &stored(), at(start, 600), || true);
    assert!(!is_repeat(&mut identities, "gone"));
    assert!(is_repeat(&mut identities, "waiting"));
    assert!(is_repeat(&mut identities, "waiting for long"));
}

#[test]
fn recalled_event_is_a_repeat_and_never_replaces_a_known_one() {
    let start = Instant::now();
    let mut identities = Identities::new(2, WINDOW);
    identities.begin(id("flying"), 1);
    assert_eq!(identities.recall(id("flying"), 2, start, start), 0);
    assert!(matches!(
        identities.begin(id("flying"), 1),
        Begin::InFlight(_)
    ));
    identities.recall(id("a"), 1, start, start);
    assert!(
        matches!(identities.begin(id("a"), 1), Begin::Repeat(result) if result == Delivery::Spooled)
    );
    assert!(matches!(identities.begin(id("a"), 2), Begin::Conflict));
    assert_eq!(identities.recall(id("b"), 1, start, start), 0);
    assert_eq!(identities.recall(id("c"), 1, start, start), 1, "bounded");
}

#[test]
fn bound_forgets_the_oldest_early_and_never_an_event_in_flight() {
    let start = Instant::now();
    let mut identities = Identities::new(2, WINDOW);
    identities.begin(id("flying"), 0);
    let mut early = 0;
    for name in ["a", "b", "c", "d"] {
        identities.begin(id(name), 0);
        early += identities.settle(id(name), &stored(), start, || true);
    }
    assert_eq!((early, identities.len()), (2, 3));
    assert!(matches!(
        identities.begin(id("flying"), 0),
        Begin::InFlight(_)
    ));
    assert!(matches!(identities.begin(id("a"), 0), Begin::First));
    assert!(matches!(identities.begin(id("d"), 0), Begin::Repeat(_)));
}
