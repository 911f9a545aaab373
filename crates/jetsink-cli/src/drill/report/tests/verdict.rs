use super::*;
use crate::drill::record::Check;
use crate::drill::report::example;

fn checks(marks: &[Option<bool>]) -> Vec<Check> {
    let check = |kept: &Option<bool>| Check {
        name: "lost".to_owned(),
        seen: "0".to_owned(),
        bound: kept.map(|_| "0".to_owned()),
        kept: *kept,
    };
    marks.iter().map(check).collect()
}

#[test]
fn one_broken_bound_is_a_broken_contender() {
    let mut record = example::drill();
    record.contenders[0].checks = checks(&[None, Some(true)]);
    record.contenders[1].checks = checks(&[Some(true), Some(false), None]);
    record.contenders[2].checks = checks(&[None]);
    let outcome = |contender| ContenderVerdict::of(&record, contender);
    let outcomes: Vec<_> = record.contenders.iter().map(outcome).collect();
    let broken = ContenderVerdict::Broken {
        broken: 1,
        bounds: 2,
    };
    assert_eq!(
        outcomes,
        [
            ContenderVerdict::Kept { bounds: 1 },
            broken,
            ContenderVerdict::Unbounded
        ]
    );
    assert_eq!(
        headline(&record),
        "jetsink kept every bound; jetsink with a spool broke 1 of 2"
    );
}

#[test]
fn contenders_that_kept_all_bounds_are_named_together_if_the_stream_was_read() {
    let mut record = example::drill();
    for contender in &mut record.contenders {
        contender.checks = checks(&[Some(true)]);
    }
    assert_eq!(
        headline(&record),
        "jetsink, jetsink with a spool and plain async-nats kept every bound"
    );
    record.about.unread = true;
    assert_eq!(
        headline(&record),
        "no verdict: what the broker holds could not be read"
    );
    record.contenders[0].checks = checks(&[Some(false)]);
    assert!(headline(&record).ends_with("; jetsink broke 1 of 1"));
    record.about.unread = false;
    record.contenders.clear();
    assert_eq!(headline(&record), "No value had a bound");
}
