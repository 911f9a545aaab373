use std::collections::BTreeSet;
use std::io::Cursor;

use blake3::Hash;
use proptest::prelude::*;

use super::*;
use crate::lines::Lines;
use crate::publish::input::reader::LineFormat;

/// Written by the published supervisor; see the README beside it.
pub(super) const RECORDED: &[u8] =
    include_bytes!("../../../../../tests/audit-trail/audit-trail.jsonl");
const RECORDED_HEAD: &str = include_str!("../../../../../tests/audit-trail/audit-trail.head");

/// A row without its line end, and its hash.
pub(super) fn row(sequence: usize, event: &str, last: Hash) -> (String, Hash) {
    let (schema, at) = ("axiom.audit.v1", "2026-11-30T14:22:17.846267194+00:00");
    let sorted = format!(
        r#"{{"at":"{at}","body":{event},"event":"t","prev_hash":"{last}","schema":"{schema}","seq":{sequence}}}"#
    );
    let hash = blake3::hash(sorted.as_bytes());
    let row = format!(
        r#"{{"schema":"{schema}","seq":{sequence},"at":"{at}","event":"t","body":{event},"prev_hash":"{last}","row_hash":"{hash}"}}"#
    );
    (row, hash)
}

/// The events that are accepted from a file, their ids, and the reports.
#[derive(Debug, Default, PartialEq)]
struct Found {
    events: Vec<Bytes>,
    ids: Vec<String>,
    reports: Vec<String>,
}

fn found(text: &[u8], head: Option<Hash>, on_broken: OnBrokenChain) -> Found {
    let mut trail = Trail {
        chain: Chain::new(head),
        ..Trail::new(on_broken)
    };
    let binding = Binding::new("events.all".parse().unwrap());
    let mut location = LineLocation {
        file: Path::new("audit-trail.jsonl").into(),
        index: 0,
        line: 0,
        event: None,
    };
    let mut lines = Vec::new();
    let mut source = Lines::new(Cursor::new(text.to_vec()));
    while let Some((raw, _)) = source.next().unwrap() {
        location.line += 1;
        lines.extend(
            trail
                .next(raw, &location, &binding, true)
                .into_iter()
                .flatten(),
        );
    }
    lines.extend(trail.end(&location));
    let mut found = Found::default();
    for line in lines {
        match line.event {
            Ok(event) => {
                found.ids.push(event.message_id().unwrap().to_string());
                found.events.push(event.payload().clone());
            }
            Err(bad) => found.reports.push(format!("{}: {}", bad.line, bad.message)),
        }
    }
    found
}

pub(super) fn recorded_rows() -> Vec<&'static [u8]> {
    RECORDED.split_inclusive(|byte| *byte == b'\n').collect()
}

pub(super) fn recorded_head() -> Option<Hash> {
    Some(hash_of(RECORDED_HEAD).unwrap())
}

/// Checks that a change of the recorded trail is reported and adds no event.
fn assert_noticed(text: &[u8]) {
    let whole = found(RECORDED, recorded_head(), OnBrokenChain::Stop);
    let stopped = found(text, recorded_head(), OnBrokenChain::Stop);
    assert_eq!(stopped.reports.len(), 1, "{stopped:?}");
    assert!(
        whole.events.starts_with(&stopped.events),
        "only rows before the break are published: {:?}",
        stopped.reports
    );
    let continued = found(text, recorded_head(), OnBrokenChain::Continue);
    assert!(!continued.reports.is_empty());
    let known: BTreeSet<_> = whole.events.iter().collect();
    assert!(continued.events.iter().all(|event| known.contains(event)));
}

#[test]
fn the_recorded_trail_holds_and_its_ids_are_of_subject_and_hash() {
    let found = found(RECORDED, recorded_head(), OnBrokenChain::Stop);
    assert_eq!(found.reports, [""; 0]);
    assert_eq!((found.events.len(), found.ids.len()), (19, 19));
    let last = message_id("events.all", &recorded_head().unwrap()).unwrap();
    assert_eq!(found.ids.last(), Some(&last.to_string()));
    let elsewhere = message_id("events.other", &recorded_head().unwrap()).unwrap();
    assert_ne!(elsewhere, last, "the stream compares ids only");
    for (event, row) in found.events.iter().zip(recorded_rows()) {
        assert!(
            row.windows(event.len()).any(|part| part == event),
            "byte for byte"
        );
    }
}

#[test]
fn each_row_that_is_removed_repeated_or_moved_is_noticed() {
    let rows = recorded_rows();
    for index in 0..rows.len() {
        let mut removed = rows.clone();
        removed.remove(index);
        assert_noticed(&removed.concat());
        let mut repeated = rows.clone();
        repeated.insert(index, rows[index]);
        assert_noticed(&repeated.concat());
        for other in index + 1..rows.len() {
            let mut moved = rows.clone();
            moved.swap(index, other);
            assert_noticed(&moved.concat());
        }
    }
}

#[test]
fn a_file_that_ends_anywhere_within_its_rows_is_noticed() {
    // Without its last line end it has all rows.
    for end in 0..RECORDED.len() - 1 {
        if end % 101 == 0 || RECORDED[end.saturating_sub(1)] == b'\n' {
            assert_noticed(&RECORDED[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_changed_byte_anywhere_is_noticed(at in 0..RECORDED.len(), change in 1..=u8::MAX) {
        let mut text = RECORDED.to_vec();
        text[at] ^= change;
        assert_noticed(&text);
    }

    #[test]
    fn an_inserted_byte_anywhere_adds_no_event(at in 0..=RECORDED.len(), byte: u8) {
        let mut text = RECORDED.to_vec();
        text.insert(at, byte);
        let whole = found(RECORDED, None, OnBrokenChain::Stop).events;
        let known: BTreeSet<_> = whole.iter().collect();
        let events = found(&text, None, OnBrokenChain::Continue).events;
        prop_assert!(events.iter().all(|event| known.contains(event)));
    }
}

#[test]
fn continuing_publishes_every_row_that_is_intact() {
    let rows = recorded_rows();
    let whole = found(RECORDED, None, OnBrokenChain::Stop).events;
    let mut text = rows.clone();
    text.remove(3);
    let altered = String::from_utf8(text[7].to_vec()).unwrap();
    let altered = altered.replace(r#""specversion":"1.0""#, r#""specversion":"1.1""#);
    text[7] = altered.as_bytes();
    let found = found(&text.concat(), None, OnBrokenChain::Continue);
    let intact = |index: &usize| ![3, 8].contains(index);
    let intact: Vec<_> = (0..rows.len())
        .filter(intact)
        .map(|i| whole[i].clone())
        .collect();
    assert_eq!(found.events, intact);
    assert_eq!(found.reports.len(), 2, "{:?}", found.reports);
    assert!(found.reports[0].starts_with("4: "), "{}", found.reports[0]);
    assert!(found.reports[1].starts_with("8: "), "{}", found.reports[1]);
}

#[test]
fn rows_that_were_published_before_count_in_the_chain() {
    let rows = recorded_rows();
    let binding = Binding::new("events.all".parse().unwrap());
    let mut trail = Trail::new(OnBrokenChain::Stop);
    let mut location = LineLocation {
        file: Path::new("f").into(),
        index: 0,
        line: 0,
        event: None,
    };
    let mut next = |row: &[u8], wanted| {
        location.line += 1;
        trail.next(Bytes::copy_from_slice(row), &location, &binding, wanted)
    };
    assert!(matches!(next(rows[0], false), [None, None]));
    assert!(matches!(next(rows[1], true), [None, Some(_)]));
    // A row is missing among those that were published.
    assert!(matches!(next(rows[3], false), [Some(_), None]));
    assert!(matches!(next(rows[4], true), [None, None]), "it has ended");
}

#[test]
fn a_break_before_an_unterminated_row_is_no_part_of_a_row() {
    let rows = recorded_rows();
    let binding = Binding::new("events.all".parse().unwrap());
    let location = LineLocation {
        file: Path::new("f").into(),
        index: 0,
        line: 2,
        event: None,
    };
    let whole = &rows[2][..rows[2].len() - 1];
    let altered = String::from_utf8(whole.to_vec()).unwrap();
    let altered = altered.replace(r#""specversion":"1.0""#, r#""specversion":"1.1""#);
    for (end, is_row) in [
        (whole, true),
        (altered.as_bytes(), true),
        (&whole[..200], false),
    ] {
        let mut format = LineFormat::Trail(Box::new(Trail::new(OnBrokenChain::Continue)));
        format.convert(Bytes::from_static(rows[0]), &location, &binding, true);
        let converted = format.convert(Bytes::copy_from_slice(end), &location, &binding, true);
        assert!(matches!(&converted[0], Some(line) if line.event.is_err()));
        assert_eq!(format.is_line(&converted), is_row);
    }
}

#[test]
fn a_row_whose_event_is_invalid_is_a_bad_line_of_an_intact_chain() {
    let (first, hash) = row(0, r#"{"specversion":"1.0"}"#, Hash::from_bytes([0; 32]));
    let event = r#"{"id":"1","source":"s","specversion":"1.0","type":"t"}"#;
    let (second, _) = row(1, event, hash);
    let found = found(
        format!("{first}\n{second}\n").as_bytes(),
        None,
        OnBrokenChain::Stop,
    );
    assert_eq!(found.events, [event]);
    assert_eq!(found.reports.len(), 1);
    assert!(
        found.reports[0].contains("not a CloudEvent"),
        "{}",
        found.reports[0]
    );
}
