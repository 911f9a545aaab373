//! One test per verdict; the random histories are in `tests/histories.rs`.

use super::*;
use crate::{Event, Outcome};

/// Each event is the letter of its identity and its content: `a1` and `a2` are one event, altered.
fn identity(event: &str) -> Option<char> {
    event.chars().next()
}

fn ledger(lists: &[(Outcome, &[&'static str])]) -> Ledger<&'static str, char> {
    let mut ledger = Ledger::default();
    for (outcome, events) in lists {
        for event in *events {
            let recorded = Event::new(*event, *outcome);
            ledger.add(recorded.identity(identity(event).unwrap()));
        }
    }
    ledger
}

fn acknowledged(events: &[&'static str]) -> Ledger<&'static str, char> {
    ledger(&[(Outcome::Acknowledged, events)])
}

fn observe(
    ledger: Ledger<&'static str, char>,
    stored: &[&'static str],
) -> (Vec<Verdict>, Report<&'static str>) {
    let mut audit = ledger.seal();
    let mut verdicts = Vec::new();
    for (event, sequence) in stored.iter().zip(1..) {
        let message = Message {
            sequence,
            subject: "subject",
            content: Content::Key(event),
        };
        verdicts.push(audit.observe_identified(message, || identity(event)));
    }
    (verdicts, audit.finish())
}

fn lost<K>(report: &Report<K>) -> Vec<u32> {
    report.lost().collect()
}

#[test]
fn events_stored_once_and_in_order_are_clean() {
    let events = ["a1", "b1", "b1", "c1"];
    let (verdicts, report) = observe(acknowledged(&events), &events);
    assert_eq!(verdicts, [Verdict::Expected; 4]);
    assert!(report.is_clean());
    assert_eq!(
        report.to_string(),
        "0 lost, 0 altered, 0 duplicated, 0 out of order, 0 unexpected"
    );
}

#[test]
fn acknowledged_event_without_a_message_is_lost() {
    let (_, report) = observe(acknowledged(&["a1", "b1", "b1"]), &["a1", "b1"]);
    assert_eq!(lost(&report), [2], "equal events are counted");
    assert!(!report.is_clean());
    assert!(report.is_stored(1) && !report.is_stored(2) && !report.is_stored(3));
}

#[test]
fn second_message_of_an_event_is_a_duplicate() {
    let (verdicts, report) = observe(acknowledged(&["a1", "b1"]), &["a1", "b1", "b1", "b1"]);
    assert_eq!(verdicts[2..], [Verdict::Duplicated; 2]);
    assert_eq!(report.counts().duplicated, 2, "messages");
    assert_eq!(report.duplicated().collect::<Vec<_>>(), [1], "events");
    assert!(!report.is_clean());
}

#[test]
fn event_behind_a_later_one_of_its_subject_is_out_of_order() {
    let (verdicts, report) = observe(acknowledged(&["a1", "b1", "c1"]), &["b1", "a1", "c1"]);
    assert_eq!(verdicts[1], Verdict::OutOfOrder);
    assert_eq!(report.counts().out_of_order, 1);
    assert_eq!(lost(&report), []);
    assert!(!report.is_clean());
}

#[test]
fn order_is_compared_per_subject() {
    let mut audit = acknowledged(&["a1", "b1"]).seal();
    assert_eq!(audit.observe("one", &"b1"), Verdict::Expected);
    assert_eq!(audit.observe("two", &"a1"), Verdict::Expected);
    assert!(audit.finish().is_clean());
}

#[test]
fn order_of_unordered_and_unknown_events_is_not_compared() {
    let mut ledger: Ledger<&str> = Ledger::new();
    ledger.add(Event::acknowledged("concurrent").ordered(false));
    ledger.add(Event::unknown("given up"));
    ledger.add(Event::unknown("waited for").ordered(true));
    ledger.add(Event::acknowledged("last"));
    let mut audit = ledger.seal();
    assert_eq!(audit.observe("s", &"last"), Verdict::Expected);
    assert_eq!(audit.observe("s", &"given up"), Verdict::Expected);
    assert_eq!(audit.observe("s", &"concurrent"), Verdict::Expected);
    assert_eq!(audit.observe("s", &"waited for"), Verdict::OutOfOrder);
}

#[test]
fn message_without_an_event_is_unexpected() {
    let (verdicts, report) = observe(acknowledged(&["a1"]), &["a1", "x1"]);
    assert_eq!(verdicts[1], Verdict::Unexpected);
    assert_eq!(report.counts().unexpected, 1);
    assert!(!report.is_clean());
}

#[test]
fn stored_event_of_a_ruled_out_publish_is_a_finding() {
    let lists: [(_, &[_]); 2] = [
        (Outcome::NotStored, &["x1", "x2"]),
        (Outcome::Acknowledged, &["a1"]),
    ];
    let (_, report) = observe(ledger(&lists), &["a1"]);
    assert!(report.is_clean(), "none is stored");
    let (verdicts, report) = observe(ledger(&lists), &["a1", "x2"]);
    assert_eq!(verdicts[1], Verdict::StoredDespiteError);
    assert_eq!(report.stored_despite_error().collect::<Vec<_>>(), [1]);
    assert!(!report.is_clean());
    assert_eq!(
        report.to_string(),
        "0 lost, 0 altered, 0 duplicated, 0 out of order, 0 unexpected, 1 stored despite an error"
    );
}

#[test]
fn event_on_another_subject_is_on_the_wrong_subject() {
    let mut ledger: Ledger<&str> = Ledger::new();
    ledger.add(Event::acknowledged("x").on("one"));
    ledger.add(Event::acknowledged("x").on("two"));
    ledger.add(Event::acknowledged("x"));
    let mut audit = ledger.seal();
    // Invariant 2: the event of the message's subject, then one without a subject, then another.
    assert_eq!(audit.observe("two", &"x"), Verdict::Expected);
    assert_eq!(audit.observe("two", &"x"), Verdict::Expected);
    assert_eq!(audit.observe("two", &"x"), Verdict::WrongSubject);
    assert_eq!(audit.observe("two", &"x"), Verdict::Duplicated);
    let report = audit.finish();
    assert_eq!(report.counts().wrong_subject, 1);
    assert_eq!(report.duplicated().collect::<Vec<_>>(), [2]);
    assert!(report.to_string().ends_with(", 1 on the wrong subject"));
}

#[test]
fn altered_event_is_neither_lost_nor_unexpected() {
    let (verdicts, report) = observe(acknowledged(&["a1", "b1", "c1"]), &["a1", "b2", "x1"]);
    let [altered] = report.altered() else {
        panic!("{:?}", report.altered());
    };
    assert_eq!((altered.event, altered.sequence), (1, 2));
    assert_eq!(lost(&report), [2]);
    assert_eq!(verdicts[1..], [Verdict::Unmatched, Verdict::Unexpected]);
    assert!(report.unexpected().is_empty());
    assert!(!report.is_stored(1));
}

#[test]
fn event_that_must_not_be_stored_is_never_altered() {
    let lists: [(_, &[_]); 1] = [(Outcome::NotStored, &["a1"])];
    let (verdicts, report) = observe(ledger(&lists), &["a2"]);
    assert_eq!(verdicts, [Verdict::Unmatched]);
    assert_eq!((report.altered(), report.unexpected()), (&[][..], &[1][..]));
}

#[test]
fn unmatched_messages_per_identity_are_bounded_by_its_events() {
    let events = ["a1", "a2", "b1"];
    let stored = ["a1", "a7", "a8", "a9", "a9"];
    let (verdicts, report) = observe(acknowledged(&events), &stored);
    assert_eq!(verdicts[1..3], [Verdict::Unmatched; 2]);
    assert_eq!(verdicts[3..], [Verdict::Unexpected; 2]);
    let altered = Altered {
        event: 1,
        sequence: 2,
    };
    assert_eq!(report.altered(), [altered], "the first in the stream");
    assert_eq!(lost(&report), [2]);
    assert_eq!(report.unexpected(), [3]);
    assert_eq!(report.counts().unexpected, 3);
}

#[test]
fn lost_copy_of_equal_events_makes_no_other_copy_late() {
    let events = ["x1", "a1", "x1"];
    let (verdicts, report) = observe(acknowledged(&events), &["a1", "x1"]);
    assert_eq!(verdicts, [Verdict::Expected; 2]);
    assert_eq!(lost(&report), [0]);
    let (verdicts, report) = observe(acknowledged(&events), &["a1", "x1", "x1"]);
    assert_eq!(verdicts[2], Verdict::OutOfOrder);
    assert_eq!(lost(&report), []);
}

#[test]
fn long_runs_of_equal_events_are_counted() {
    let mut events = vec!["x1"; 40];
    events.push("a1");
    events.extend(["x1"; 40]);
    let (_, report) = observe(acknowledged(&events), &events);
    assert!(report.is_clean());
    let (verdicts, report) = observe(acknowledged(&events), &events[30..]);
    assert!(verdicts.iter().all(|v| *v == Verdict::Expected));
    assert_eq!(report.lost().count(), 30);
    let mut late = vec!["a1"];
    late.extend(["x1"; 81]);
    let (verdicts, report) = observe(acknowledged(&events), &late);
    let count = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
    assert_eq!(count(Verdict::Expected), 41);
    assert_eq!(count(Verdict::OutOfOrder), 40);
    assert_eq!(count(Verdict::Duplicated), 1);
    assert_eq!(lost(&report), []);
}

#[test]
fn event_of_unknown_outcome_may_be_stored_once_or_never_or_late() {
    let lists: [(_, &[_]); 2] = [
        (Outcome::Unknown, &["u1"]),
        (Outcome::Acknowledged, &["a1", "b1"]),
    ];
    for stored in [&["a1", "b1"][..], &["u1", "a1", "b1"], &["a1", "b1", "u1"]] {
        let (_, report) = observe(ledger(&lists), stored);
        assert!(report.is_clean(), "{stored:?}: {report}");
    }
    let (verdicts, _) = observe(ledger(&lists), &["a1", "u1", "u1"]);
    assert_eq!(verdicts[2], Verdict::Duplicated);
}

#[test]
fn of_equal_events_the_acknowledged_one_is_matched_first() {
    let lists: [(_, &[_]); 3] = [
        (Outcome::NotStored, &["x1"]),
        (Outcome::Unknown, &["x1"]),
        (Outcome::Acknowledged, &["x1"]),
    ];
    let (verdicts, report) = observe(ledger(&lists), &["x1", "x1", "x1", "x1"]);
    assert_eq!(
        verdicts,
        [
            Verdict::Expected,
            Verdict::Expected,
            Verdict::StoredDespiteError,
            Verdict::Duplicated
        ]
    );
    assert_eq!(lost(&report), []);
    let lists: [(_, &[_]); 2] = [
        (Outcome::Acknowledged, &["x1", "a1"]),
        (Outcome::Unknown, &["x1"]),
    ];
    let (verdicts, report) = observe(ledger(&lists), &["a1", "x1"]);
    assert_eq!(verdicts[1], Verdict::OutOfOrder);
    assert_eq!(lost(&report), [], "late rather than lost");
}

#[test]
fn pending_copy_excuses_one_equal_event() {
    let stored = |stored: &[&'static str]| {
        let lists: [(_, &[_]); 2] = [
            (Outcome::Acknowledged, &["a1", "b1", "b1"]),
            (Outcome::Pending, &["b1", "z1"]),
        ];
        observe(ledger(&lists), stored)
    };
    assert!(stored(&["a1", "b1"]).1.is_clean());
    assert!(stored(&["a1", "b1", "b1"]).1.is_clean(), "replayed");
    assert!(stored(&["a1", "b1", "z1"]).1.is_clean(), "without an event");
    assert_eq!(lost(&stored(&["a1"]).1), [1], "one of the two is excused");
    let (verdicts, _) = stored(&["a1", "b1", "b1", "b1"]);
    assert_eq!(verdicts[3], Verdict::Duplicated);
}

#[test]
fn pending_copy_excuses_an_event_of_its_own_subject_only() {
    for (subject, still_lost) in [("one", 1), ("two", 0)] {
        let mut ledger: Ledger<&str> = Ledger::new();
        ledger.add(Event::acknowledged("x").on("one"));
        ledger.add(Event::acknowledged("x").on("two"));
        ledger.add(Event::pending("x").on(subject));
        let report = ledger.seal().finish();
        assert_eq!(lost(&report), [still_lost]);
    }
}

#[test]
fn message_matches_by_key_or_alias() {
    let mut aliases = Aliases::default();
    for alias in ["A1", "B1"] {
        aliases.try_add(alias).unwrap();
    }
    let mut audit = acknowledged(&["a1", "b1"]).seal();
    assert!(!audit.has_aliases());
    audit.set_aliases(aliases).unwrap();
    let mut stored = |content| {
        let message = Message {
            sequence: 1,
            subject: "subject",
            content,
        };
        audit.observe_identified(message, || None)
    };
    assert_eq!(stored(Content::Alias(&"A1")), Verdict::Expected);
    assert_eq!(stored(Content::Key(&"a1")), Verdict::Duplicated);
    assert_eq!(stored(Content::Key(&"b1")), Verdict::Expected);
    assert_eq!(stored(Content::Alias(&"B1")), Verdict::Duplicated);
    assert_eq!(stored(Content::Unreadable), Verdict::Unexpected);
    assert_eq!(lost(&audit.finish()), []);
}

#[test]
fn pending_copy_excuses_an_event_with_its_alias() {
    let lists: [(_, &[_]); 2] = [
        (Outcome::Acknowledged, &["a1"]),
        (Outcome::Pending, &["a2"]),
    ];
    let (_, report) = observe(ledger(&lists), &[]);
    assert_eq!(lost(&report), [0]);
    let mut aliases = Aliases::default();
    for alias in ["A", "A"] {
        aliases.try_add(alias).unwrap();
    }
    let report = ledger(&lists).seal_with(aliases).unwrap().finish();
    assert!(report.is_clean());
}

#[test]
fn aliases_added_later_do_not_assign_pending_copies_anew() {
    let lists: [(_, &[_]); 2] = [
        (Outcome::Acknowledged, &["a1", "b1"]),
        (Outcome::Pending, &["b1"]),
    ];
    let mut audit = ledger(&lists).seal();
    let mut aliases = Aliases::default();
    for alias in ["A", "B", "A"] {
        aliases.try_add(alias).unwrap();
    }
    audit.set_aliases(aliases).unwrap();
    assert_eq!(lost(&audit.finish()), [0], "the copy equals b1 by key");
}

#[test]
fn aliases_of_another_count_are_refused() {
    let error = AliasCountError {
        aliases: 0,
        events: 1,
    };
    let refused = acknowledged(&["a1"]).seal_with(Aliases::default());
    assert_eq!(refused.err(), Some(error));
    let mut audit = acknowledged(&["a1"]).seal();
    assert_eq!(audit.set_aliases(Aliases::default()), Err(error));
}

#[test]
fn report_knows_the_key_of_each_event() {
    let (_, report) = observe(acknowledged(&["a1", "b1"]), &[]);
    assert!(report.has_key(1, &"b1"));
    assert!(!report.has_key(1, &"a1") && !report.has_key(0, &"b1"));
}

#[test]
fn memory_per_event_is_as_documented() {
    // Invariant 5, and the README: 3 + 20 + 12 bytes with a 16-byte key and an 8-byte identity.
    assert_eq!(size_of::<crate::state::State>(), 3);
    assert_eq!(crate::index::entry_size::<[u32; 4]>(), 20);
    assert_eq!(crate::index::entry_size::<[u32; 2]>(), 12);
    assert_eq!(crate::index::entry_size::<u64>(), size_of::<(u64, u32)>());
}
