use super::*;

const MAX_EMIT: Duration = Duration::from_secs(2);

fn evidence(results: &[EmitResult]) -> Evidence {
    Evidence {
        results: results.to_vec(),
        ..Evidence::default()
    }
}

fn compared(evidence: Evidence, stored: &[u64]) -> Comparison {
    evidence.compare(stored.iter().map(|number| (*number, true)))
}

fn broken(comparison: &Comparison) -> Vec<String> {
    let checks = comparison.checks(MAX_EMIT).into_iter();
    checks
        .filter(|check| check.kept == Some(false))
        .map(|check| check.name)
        .collect()
}

#[test]
fn results_that_agree_with_the_stream_keep_every_promise() {
    let results = [
        EmitResult::Stored,
        EmitResult::Unknown,
        EmitResult::NotStored,
        EmitResult::Stored,
        EmitResult::Unknown,
    ];
    let broken = |stored: &[u64]| broken(&compared(evidence(&results), stored));
    assert!(broken(&[0, 1, 3]).is_empty());
    // An event of unknown outcome may be stored late.
    assert!(broken(&[0, 3, 4, 1]).is_empty());
}

#[test]
fn each_planted_fault_is_found() {
    let ok = [EmitResult::Stored, EmitResult::Spooled, EmitResult::Stored];
    let of_ok = |stored: &[u64]| broken(&compared(evidence(&ok), stored));
    assert_eq!(of_ok(&[0, 2]), ["lost"]);
    assert_eq!(of_ok(&[0, 1, 1, 2]), ["duplicated"]);
    assert_eq!(of_ok(&[1, 0, 2]), ["out of order"]);
    assert_eq!(of_ok(&[0, 1, 2, 9]), ["altered"]);
    for altered in [(2, false), (9, false)] {
        let stored = [(0, true), (1, true), altered];
        let found = evidence(&ok).compare(stored);
        assert_eq!(found.altered, 1);
        assert!(broken(&found).contains(&"altered".to_owned()));
    }
    let error = [EmitResult::Stored, EmitResult::NotStored];
    assert_eq!(
        broken(&compared(evidence(&error), &[0, 1])),
        ["stored despite an error"]
    );
}

#[test]
fn deleted_event_is_not_lost_and_a_spool_promises_more() {
    let results = [EmitResult::Stored, EmitResult::Stored];
    assert_eq!(broken(&compared(evidence(&results), &[1])), ["lost"]);
    let mut excused = evidence(&results);
    excused.excused.push(0..1);
    let deleted = compared(excused, &[1]);
    assert!(broken(&deleted).is_empty());
    assert_eq!(deleted.ever_stored(), Some(2));
    let spooled = Evidence {
        left: Some(3),
        ..evidence(&[EmitResult::Spooled, EmitResult::NotStored])
    };
    assert_eq!(
        broken(&compared(spooled, &[0])),
        ["returned an error", "left in the spool"]
    );
}

#[test]
fn unread_stream_has_no_verdict() {
    let results = [
        EmitResult::Stored,
        EmitResult::NotStored,
        EmitResult::Unknown,
    ];
    assert_eq!(broken(&compared(evidence(&results), &[])), ["lost"]);
    let unread = Evidence {
        unread: true,
        ..evidence(&results)
    };
    let unread = compared(unread, &[]);
    assert!(broken(&unread).is_empty());
    assert_eq!(unread.ever_stored(), None);
    let checks = unread.checks(MAX_EMIT);
    let seen = |name| checks.iter().find(|check| check.name == name);
    assert_eq!(
        seen("returned an error").map(|check| check.seen.as_str()),
        Some("2")
    );
    assert!(seen("lost").is_none());
    let left = Evidence {
        unread: true,
        left: Some(1),
        ..evidence(&results[..1])
    };
    assert!(broken(&compared(left, &[])).is_empty());
}

#[test]
fn pending_event_is_left_and_not_lost() {
    let left = |results: &[EmitResult], stored: &[u64], left| {
        let evidence = Evidence {
            left: Some(left),
            ..evidence(results)
        };
        broken(&compared(evidence, stored))
    };
    let waiting = [EmitResult::Stored, EmitResult::Spooled, EmitResult::Spooled];
    assert_eq!(left(&waiting, &[0], 2), ["left in the spool"]);
    assert_eq!(left(&waiting, &[0], 1), ["lost", "left in the spool"]);
    let stored = [EmitResult::Stored];
    assert_eq!(left(&stored, &[], 1), ["lost", "left in the spool"]);
}

#[test]
fn times_have_their_bounds_and_never_is_too_late() {
    let recoveries = [("killed", Some(999)), ("frozen", None)].map(|(fault, time)| Recovery {
        fault,
        time: time.map(Duration::from_millis),
        bound: Duration::from_secs(1),
    });
    let late = Evidence {
        longest: Duration::from_millis(2_001),
        recoveries: recoveries.to_vec(),
        ..Evidence::default()
    };
    let late = compared(late, &[]);
    assert_eq!(broken(&late), ["longest emit", "delivers again, frozen"]);
    assert!(
        to_compare(late.checks(MAX_EMIT))
            .iter()
            .all(|check| check.kept.is_none())
    );
}
