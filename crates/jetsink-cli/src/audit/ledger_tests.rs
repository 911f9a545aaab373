use super::*;

/// Each event is its identity's letter and its content: `a1`, `a2` are one event altered.
fn id(event: &str) -> [u32; 2] {
    identity("s", &event[..1])
}

fn ledger(emitted: &[&str], may: &[&str], spooled: &[&str]) -> Ledger {
    let mut ledger = Ledger::default();
    let kinds = [
        (emitted, Line::Missing),
        (may, Line::Optional),
        (spooled, Line::Spooled),
    ];
    for (lines, kind) in kinds {
        for line in lines {
            ledger.add(kind, line.as_bytes(), None, id(line)).unwrap();
        }
    }
    ledger.seal();
    ledger
}

fn look(ledger: &mut Ledger, stored: &[&str]) -> (Vec<Verdict>, Ended) {
    let look = |(event, sequence): (&&str, u64)| {
        let key = Key::Bytes(event.as_bytes());
        ledger.stored("subject", sequence, key, || Some(id(event)))
    };
    let verdicts = stored.iter().zip(1..).map(look).collect();
    (verdicts, ledger.finish())
}

fn audit(emitted: &[&str], may: &[&str], stored: &[&str]) -> (Vec<Verdict>, Ended) {
    look(&mut ledger(emitted, may, &[]), stored)
}

fn is_clean((verdicts, ended): (Vec<Verdict>, Ended)) -> bool {
    verdicts.iter().all(|v| *v == Verdict::Expected) && ended == Ended::default()
}

#[test]
fn what_is_stored_once_in_order_is_clean_and_equal_lines_are_counted() {
    let lines = ["a1", "b1", "b1", "c1"];
    assert!(is_clean(audit(&lines, &[], &lines)));
    let (_, ended) = audit(&["a1", "b1", "b1"], &[], &["a1", "b1"]);
    assert_eq!(ended.lost, [2]);
    let (verdicts, _) = audit(&["a1", "b1"], &[], &["a1", "b1", "b1"]);
    assert_eq!(verdicts[2], Verdict::Duplicated);
}

#[test]
fn of_equal_lines_the_lost_one_is_lost_and_not_another_one_late() {
    let (verdicts, ended) = audit(&["x1", "a1", "x1"], &[], &["a1", "x1"]);
    assert_eq!(verdicts, [Verdict::Expected; 2]);
    assert_eq!(ended.lost, [0]);
    let (verdicts, ended) = audit(&["x1", "a1", "x1"], &[], &["a1", "x1", "x1"]);
    assert_eq!(verdicts[2], Verdict::OutOfOrder);
    assert_eq!(ended, Ended::default());
}

#[test]
fn many_equal_lines_are_counted_too() {
    let emitted: Vec<&str> = ["x1"; 40]
        .into_iter()
        .chain(["a1"])
        .chain(["x1"; 40])
        .collect();
    assert!(is_clean(audit(&emitted, &[], &emitted)));
    let (verdicts, ended) = audit(&emitted, &[], &emitted[30..]);
    assert!(verdicts.iter().all(|v| *v == Verdict::Expected));
    assert_eq!(ended.lost.len(), 30);
    let late: Vec<&str> = ["a1"].into_iter().chain(["x1"; 81]).collect();
    let (verdicts, ended) = audit(&emitted, &[], &late);
    let count = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
    assert_eq!(count(Verdict::Expected), 41);
    assert_eq!(
        (count(Verdict::OutOfOrder), count(Verdict::Duplicated)),
        (40, 1)
    );
    assert_eq!(ended, Ended::default());
}

#[test]
fn an_altered_event_is_neither_lost_nor_unexpected_and_a_stranger_is() {
    let (verdicts, ended) = audit(&["a1", "b1", "c1"], &[], &["a1", "b2", "x1"]);
    assert_eq!(ended.altered, [(1, 2)]);
    assert_eq!(ended.lost, [2]);
    assert_eq!(verdicts[2], Verdict::Unexpected);
}

#[test]
fn of_strangers_with_one_identity_no_more_are_kept_than_it_has_lines() {
    let mut ledger = ledger(&["a1", "a2", "b1"], &[], &[]);
    let (verdicts, ended) = look(&mut ledger, &["a1", "a7", "a8", "a9", "a9"]);
    assert_eq!(verdicts[1..3], [Verdict::Stranger; 2]);
    assert_eq!(verdicts[3..], [Verdict::Unexpected; 2]);
    assert_eq!(ended.altered, [(1, 2)], "the first in the stream");
    assert_eq!((ended.lost, ended.unexpected), (vec![2], vec![3]));
}

#[test]
fn order_is_told_by_subject() {
    let (verdicts, ended) = audit(&["a1", "b1", "c1"], &[], &["b1", "a1", "c1"]);
    assert_eq!(verdicts[1], Verdict::OutOfOrder);
    assert_eq!(ended, Ended::default());
    let mut ledger = ledger(&["a1", "b1"], &[], &[]);
    for (subject, event) in [("one", "b1"), ("two", "a1")] {
        let verdict = ledger.stored(subject, 1, Key::Bytes(event.as_bytes()), || None);
        assert_eq!(verdict, Verdict::Expected);
    }
}

#[test]
fn an_optional_line_may_be_there_or_not_and_late() {
    assert!(is_clean(audit(&["a1", "b1"], &["u1"], &["a1", "b1"])));
    assert!(is_clean(audit(&["a1", "b1"], &["u1"], &["a1", "u1", "b1"])));
    let (verdicts, _) = audit(&["a1"], &["u1"], &["a1", "u1", "u1"]);
    assert_eq!(verdicts[2], Verdict::Duplicated);
    // Of equal ones that which must be there is there, late or not.
    let (verdicts, ended) = audit(&["x1", "a1"], &["x1"], &["a1", "x1"]);
    assert_eq!(verdicts[1], Verdict::OutOfOrder);
    assert_eq!(ended, Ended::default());
}

#[test]
fn what_is_in_the_spool_need_not_be_there_and_is_there_once_at_the_most() {
    let stored = |stored: &[&str]| {
        let mut ledger = ledger(&["a1", "b1", "b1"], &[], &["b1", "z1"]);
        look(&mut ledger, stored)
    };
    assert!(is_clean(stored(&["a1", "b1"])));
    assert!(is_clean(stored(&["a1", "b1", "b1"])), "replayed meanwhile");
    assert!(is_clean(stored(&["a1", "b1", "z1"])), "of nobody's line");
    let (_, ended) = stored(&["a1"]);
    assert_eq!(ended.lost, [1], "one of the two is excused");
    let (verdicts, _) = stored(&["a1", "b1", "b1", "b1"]);
    assert_eq!(verdicts[3], Verdict::Duplicated);
}

#[test]
fn messages_are_held_against_lines_by_bytes_and_by_meaning_at_once() {
    let mut ledger = Ledger::default();
    for line in ["a1", "b1"] {
        let meaning = hash(line.to_uppercase().as_bytes());
        ledger
            .add(Line::Missing, line.as_bytes(), Some(meaning), id(line))
            .unwrap();
    }
    ledger.seal();
    let meaning = |text: &str| Key::Meaning(Some(hash(text.as_bytes())));
    let mut stored = |key| ledger.stored("subject", 1, key, || None);
    assert_eq!(stored(meaning("A1")), Verdict::Expected);
    assert_eq!(stored(Key::Bytes(b"a1")), Verdict::Duplicated);
    assert_eq!(stored(Key::Bytes(b"b1")), Verdict::Expected);
    assert_eq!(stored(meaning("B1")), Verdict::Duplicated);
    assert_eq!(stored(Key::Meaning(None)), Verdict::Unexpected);
    assert_eq!(ledger.finish(), Ended::default());
}

#[test]
fn a_file_that_is_not_as_it_was_is_noticed() {
    let ledger = ledger(&["a1", "b1"], &[], &[]);
    assert!(ledger.holds(1, b"b1"));
    assert!(!ledger.holds(1, b"a1") && !ledger.holds(0, b"b1"));
}
