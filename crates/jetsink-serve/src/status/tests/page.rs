use super::*;
use crate::status::snapshot::{Failure, GatewayStatus};

fn span(events: u64, refused: u64) -> Span {
    Span {
        accepted: events,
        events,
        refused,
        abandoned: 0,
        median_seconds: (events > 0).then_some(0.001),
        p99_seconds: (events > 0).then_some(0.02),
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        gateway: GatewayStatus {
            version: "0.1.0".to_owned(),
            ready: true,
            readiness: "ready".to_owned(),
            uptime_seconds: 7_200,
        },
        broker: BrokerStatus {
            version: Some("2.15.1".to_owned()),
            connect_error: None,
            circuit: Circuit::Connected,
            since_seconds: 61,
            failed_probes: 0,
            last_failure: None,
            failing_subjects: Vec::new(),
            failing_subject_count: 0,
            delivered: 12_345,
        },
        spool: None,
        last_hour: LastHour {
            all: span(7_200, 3),
            minutes: vec![span(0, 0), span(7_200, 3), span(60, 0)],
        },
        refusals: Vec::new(),
    }
}

fn empty_spool() -> Spool {
    Spool {
        events: 0,
        subjects: 0,
        oldest_seconds: None,
        used_bytes: 0,
        limit_bytes: 1 << 30,
        dead_letters: 0,
        damaged: 0,
        possible_duplicates: 0,
        held_subjects: 0,
        unreadable_segments: 0,
    }
}

fn headline_of(change: impl FnOnce(&mut Snapshot)) -> (Level, String) {
    let mut snapshot = snapshot();
    snapshot.spool = Some(empty_spool());
    change(&mut snapshot);
    headline(&snapshot)
}

#[test]
fn headline_names_the_worst_state() {
    let is = |level, text: &str| (level, text.to_owned());
    let spool = |snapshot: &mut Snapshot, change: fn(&mut Spool)| {
        change(snapshot.spool.as_mut().unwrap());
    };
    assert_eq!(headline_of(|_| {}), is(Level::Good, "Ready"));
    assert_eq!(
        headline_of(|snapshot| spool(snapshot, |spool| spool.events = 1)),
        is(Level::Good, "Ready, 1 spooled event on the way")
    );
    assert_eq!(
        headline_of(|snapshot| spool(snapshot, |spool| spool.dead_letters = 1)),
        is(Level::Warn, "Ready, and the spool needs a look")
    );
    assert_eq!(
        headline_of(|snapshot| spool(snapshot, |spool| spool.used_bytes = spool.limit_bytes)),
        is(Level::Bad, "Ready, and the spool needs a look")
    );
    assert_eq!(
        headline_of(|snapshot| spool(snapshot, |spool| spool.unreadable_segments = 1)),
        is(Level::Bad, "Ready, and the spool needs a look")
    );
    assert_eq!(
        headline_of(|snapshot| snapshot.broker.failing_subject_count = 2),
        is(Level::Warn, "Ready, but 2 subjects fail")
    );
    let refused = |snapshot: &mut Snapshot| {
        snapshot.broker.connect_error = Some("the broker refuses this login".to_owned());
    };
    assert_eq!(
        headline_of(refused),
        is(
            Level::Warn,
            "No connection to the broker: events are spooled"
        )
    );
    let away = |snapshot: &mut Snapshot| snapshot.broker.circuit = Circuit::Reconnecting;
    assert_eq!(
        headline_of(away),
        is(
            Level::Warn,
            "Broker away for 1\u{a0}min 1\u{a0}s: events are spooled"
        )
    );
    let without_spool = |snapshot: &mut Snapshot| {
        away(snapshot);
        snapshot.spool = None;
    };
    assert_eq!(
        headline_of(without_spool),
        is(
            Level::Bad,
            "Broker away for 1\u{a0}min 1\u{a0}s: events are refused"
        )
    );
    assert_eq!(
        headline_of(|snapshot| {
            snapshot.gateway.ready = false;
            snapshot.gateway.readiness = "stopping".to_owned();
        }),
        is(Level::Bad, "Not ready: stopping")
    );
}

#[test]
fn texts_are_escaped_and_cannot_turn_the_text_around_them() {
    let hostile = "<script>alert(1)</script>\u{202e}\"'&";
    let mut snapshot = snapshot();
    snapshot.broker.version = Some(hostile.to_owned());
    snapshot.broker.connect_error = Some(hostile.to_owned());
    snapshot.broker.failing_subjects = vec![hostile.to_owned()];
    snapshot.broker.failing_subject_count = 3;
    snapshot.broker.last_failure = Some(Failure {
        error: hostile.to_owned(),
        subject: Some(hostile.to_owned()),
        seconds_ago: 5,
    });
    snapshot.refusals = vec![Refusals {
        problem: "forbidden",
        status: 403,
        count: 1,
        seconds_ago: 1,
        detail: hostile.to_owned(),
    }];
    let page = html(&snapshot);
    assert!(!page.contains("alert(1)</script>"), "{page}");
    assert!(!page.contains('\u{202e}'));
    assert_eq!(page.matches("&lt;script&gt;alert(1)").count(), 6);
    assert_eq!(page.matches("<script>").count(), 1, "its own");
    assert!(page.contains("and 2 others"));
}

#[test]
fn policy_allows_the_style_and_the_script_of_the_page_alone() {
    let page = html(&snapshot());
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let content = page.split(&format!("<{tag}>")).nth(1).unwrap();
        let content = content.split(&format!("</{tag}>")).next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(content));
        let source = format!("{directive} 'sha256-{hash}';");
        assert!(POLICY.contains(&source), "{tag}: {}", *POLICY);
        assert_eq!(page.matches(&format!("<{tag}")).count(), 1);
    }
    for attribute in [" style=", " onclick=", " onload=", "http://", "https://"] {
        assert!(!page.contains(attribute), "{attribute}");
    }
}

#[test]
fn charts_have_a_bar_per_minute_with_events() {
    let page = html(&snapshot());
    // Two minutes with events, twice with times, and one with refusals.
    assert_eq!(page.matches("<rect").count(), 2 + 4 + 1);
    assert!(page.contains("at most 120"), "7,200 events in a minute");
    assert!(page.contains("at most 20.0\u{a0}ms"));
    assert!(page.contains("7,200 events"));
}

#[test]
fn source_has_a_line_per_entry() {
    let page = html(&snapshot());
    let ends_line = |text: &str| page.lines().any(|line| line.ends_with(text));
    for text in [
        "Ready</h1>",
        "2.15.1</dd>",
        "<dt>nats-server</dt>",
        "Broker</h2>",
    ] {
        assert!(ends_line(text), "{text}: {page}");
    }
}
