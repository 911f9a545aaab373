//! Random histories against a naive model that counts and compares every pair.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::collections::BTreeMap;

use delivery_audit::{Altered, Content, Event, Findings, Ledger, Message, Outcome, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const SUBJECTS: [&str; 2] = ["one", "two"];

fn outcome() -> impl Strategy<Value = Outcome> {
    select(vec![
        Outcome::Acknowledged,
        Outcome::Acknowledged,
        Outcome::Unknown,
        Outcome::NotStored,
        Outcome::Pending,
    ])
}

/// Per key: events by outcome, and messages.
#[derive(Default)]
struct Count {
    acknowledged: usize,
    unknown: usize,
    not_stored: usize,
    pending: usize,
    messages: usize,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Equal keys, one subject: the counts follow from how often each key occurs.
    #[test]
    fn counts_of_equal_events_are_those_of_the_naive_model(
        events in vec((0..5_u8, outcome()), 0..60),
        stored in vec(0..6_u8, 0..60),
    ) {
        let mut ledger = Ledger::new();
        let mut counts: BTreeMap<u8, Count> = BTreeMap::new();
        for (key, outcome) in &events {
            ledger.add(Event::new(*key, *outcome));
            let count = counts.entry(*key).or_default();
            match outcome {
                Outcome::Acknowledged => count.acknowledged += 1,
                Outcome::Unknown => count.unknown += 1,
                Outcome::NotStored => count.not_stored += 1,
                Outcome::Pending => count.pending += 1,
            }
        }
        let mut audit = ledger.seal();
        for key in &stored {
            audit.observe("s", key);
            counts.entry(*key).or_default().messages += 1;
        }
        let report = audit.finish();
        let (mut lost, mut duplicated, mut despite_error, mut unexpected) = (0, 0, 0, 0);
        for count in counts.values() {
            let excused = count.acknowledged.min(count.pending);
            let optional = count.unknown + count.pending - excused;
            let all = count.acknowledged + optional + count.not_stored;
            let missing = count.acknowledged.saturating_sub(count.messages);
            lost += missing.saturating_sub(excused);
            let surplus = count.messages.saturating_sub(count.acknowledged + optional);
            despite_error += surplus.min(count.not_stored);
            match all {
                0 => unexpected += count.messages,
                all => duplicated += count.messages.saturating_sub(all),
            }
        }
        prop_assert_eq!(report.lost().count(), lost);
        prop_assert_eq!(report.stored_despite_error().count(), despite_error);
        let found = report.counts();
        prop_assert_eq!(found.messages, stored.len() as u64);
        prop_assert_eq!(found.duplicated, duplicated as u64);
        prop_assert_eq!(found.stored_despite_error, despite_error as u64);
        prop_assert_eq!(found.unexpected, unexpected as u64);
    }

    /// Unique keys: each message's verdict follows from the messages before it.
    #[test]
    fn verdicts_of_unique_events_are_those_of_the_naive_model(
        events in vec((outcome(), 0..3_usize, any::<bool>()), 1..30),
        stored in vec((0..32_usize, 0..2_usize), 0..40),
    ) {
        let mut ledger = Ledger::new();
        for (number, (outcome, subject, is_ordered)) in events.iter().enumerate() {
            let event = Event::new(number, *outcome).ordered(*is_ordered);
            ledger.add(match SUBJECTS.get(*subject) {
                Some(subject) => event.on(subject),
                None => event,
            });
        }
        // The subject on which an event's order is compared.
        let compared = |(number, subject): (usize, usize)| {
            SUBJECTS.get(events[number].1).copied().unwrap_or(SUBJECTS[subject])
        };
        let takes_part = |number: usize| events[number].2 && events[number].0 != Outcome::NotStored;
        let mut audit = ledger.seal();
        for (at, &(number, subject)) in stored.iter().enumerate() {
            let verdict = audit.observe(SUBJECTS[subject], &number);
            let before = &stored[..at];
            let is_first = before.iter().all(|(other, _)| *other != number);
            let expected = match events.get(number) {
                None => Verdict::Unexpected,
                Some(_) if !is_first => Verdict::Duplicated,
                Some((Outcome::NotStored, ..)) => Verdict::StoredDespiteError,
                Some((_, own, _)) => {
                    let is_wrong = SUBJECTS.get(*own).is_some_and(|own| *own != SUBJECTS[subject]);
                    // The first message of each event that takes part.
                    let is_later = |(place, other): (usize, &(usize, usize))| {
                        other.0 < events.len()
                            && takes_part(other.0)
                            && other.0 > number
                            && compared(*other) == compared((number, subject))
                            && before[..place].iter().all(|(earlier, _)| *earlier != other.0)
                    };
                    let is_late = takes_part(number) && before.iter().enumerate().any(is_later);
                    match (is_wrong, is_late) {
                        (true, _) => Verdict::WrongSubject,
                        (false, true) => Verdict::OutOfOrder,
                        (false, false) => Verdict::Expected,
                    }
                }
            };
            prop_assert_eq!(verdict, expected, "message {} of {:?}, {:?}", at, stored, events);
        }
        let report = audit.finish();
        for (number, (outcome, ..)) in events.iter().enumerate() {
            let times = stored.iter().filter(|(stored, _)| *stored == number).count();
            let event = number as u32;
            prop_assert_eq!(report.is_stored(event), times > 0);
            prop_assert_eq!(report.duplicated().any(|n| n == event), times > 1);
            let is_lost = *outcome == Outcome::Acknowledged && times == 0;
            prop_assert_eq!(report.lost().any(|n| n == event), is_lost);
        }
    }

    /// Invariant 3, one way: a stream that contains each acknowledged event and some of unknown outcome,
    /// in order, is clean. Equal events of one outcome do not hide behind each other.
    #[test]
    fn stream_that_keeps_the_promise_is_clean(
        events in vec((0..4_u8, any::<bool>(), 0..2_usize, any::<bool>()), 0..40),
    ) {
        let record = |&(key, is_known, subject, _): &(u8, bool, usize, bool)| {
            let outcome = if is_known { Outcome::Acknowledged } else { Outcome::Unknown };
            Event::new((key, is_known), outcome).on(SUBJECTS[subject])
        };
        let stored = events.iter().filter(|(_, is_known, _, is_stored)| *is_known || *is_stored);
        let stored = stored.map(|&(key, is_known, subject, _)| (SUBJECTS[subject], (key, is_known)));
        let findings = Findings::of(events.iter().map(record), stored);
        prop_assert!(findings.is_clean(), "{:?}", findings);
    }

    /// Losses are no disorder: a stream without some of the acknowledged events is in order, and the missing
    /// number is lost per key.
    #[test]
    fn losses_are_reported_as_losses_only(
        (events, stored) in vec(0..4_u8, 0..80).prop_flat_map(|events| {
            let stored = subsequence(events.clone(), 0..=events.len());
            (Just(events), stored)
        }),
    ) {
        let recorded = events.iter().copied().map(Event::acknowledged);
        let findings = Findings::of(recorded, stored.iter().map(|key| ("s", *key)));
        prop_assert_eq!(findings.lost.len(), events.len() - stored.len());
        for key in 0..4 {
            let count = |keys: &[u8]| keys.iter().filter(|other| **other == key).count();
            prop_assert_eq!(count(&findings.lost), count(&events) - count(&stored));
        }
        let others = Findings { lost: Vec::new(), ..findings };
        prop_assert!(others.is_clean(), "{:?}", others);
    }

    /// Identities: an event is altered if its content is missing and another content with its identity
    /// is stored.
    #[test]
    fn altered_events_are_those_of_the_naive_model(
        events in vec(0..3_u8, 1..20),
        stored in vec((0..20_u8, 0..3_u8), 0..30),
    ) {
        let mut ledger: Ledger<(u8, u8), u8> = Ledger::default();
        for (identity, content) in (0..).zip(&events) {
            ledger.add(Event::acknowledged((identity, *content)).ordered(false).identity(identity));
        }
        let mut audit = ledger.seal();
        for (message, sequence) in stored.iter().zip(1..) {
            let content = Content::Key(message);
            let message_of = Message { sequence, subject: "s", content };
            audit.observe_identified(message_of, || Some(message.0));
        }
        let report = audit.finish();
        let (mut altered, mut unexpected, mut lost) = (Vec::new(), 0, Vec::new());
        for (identity, content) in (0_u8..).zip(&events) {
            let of_it = || stored.iter().zip(1..).filter(move |((id, _), _)| *id == identity);
            let is_stored = of_it().any(|((_, other), _)| other == content);
            let mut others = of_it().filter(|((_, other), _)| other != content);
            let event = u32::from(identity);
            match others.next() {
                Some((_, sequence)) if !is_stored => altered.push(Altered { event, sequence }),
                Some(_) => unexpected += 1,
                None if !is_stored => lost.push(event),
                None => {}
            }
            unexpected += others.count() as u64;
        }
        let strangers = stored.iter().filter(|(id, _)| usize::from(*id) >= events.len());
        prop_assert_eq!(report.altered(), altered);
        prop_assert_eq!(report.lost().collect::<Vec<_>>(), lost);
        prop_assert_eq!(report.counts().unexpected, unexpected + strangers.count() as u64);
    }
}
