use super::*;

fn stamp(name: &str) -> Option<Stamp> {
    Stamp::of(OsStr::new("ev.jsonl"), OsStr::new(name))
}

#[test]
fn names_of_common_rotations_are_recognised() {
    for name in [
        "ev.jsonl.1",
        "ev.jsonl.10",
        "ev.jsonl.1.gz",
        "ev.jsonl.2.zst",
        "ev.jsonl.gz",
        "ev.jsonl-20261130",
        "ev.jsonl-20261130.gz",
        "ev.jsonl-20261130-1764460800",
        "ev.jsonl.20261130-001600.gz",
        "ev-20261130.jsonl",
        "ev.1.jsonl",
        "ev-1.jsonl",
        "ev-2026-11-30T00-16-00.000.jsonl",
        "ev-2026-11-30T00-16-00.000.jsonl.gz",
        "ev.2026-11-30.jsonl",
        "ev.2026-11-30.0.jsonl.gz",
        "ev.2026-11-30_00-16.3.jsonl",
        "ev-11-30-2026-1.jsonl.gz",
        "ev.jsonl.2026-11-30_00-16-00",
        "ev.jsonl.2026-11-30T00:16:00+00:00",
        "ev.jsonl.old",
    ] {
        assert!(stamp(name).is_some(), "{name}");
    }
    for name in [
        "ev.jsonl",
        "ev.jsonlx",
        "ev2.jsonl",
        "event.jsonl.1",
        "ev.jsonl.",
        "ev.jsonl.position",
        "ev.jsonl.1x",
        "ev.jsonl.tmp",
        "ev-errors.jsonl",
        "ev",
        "xev.jsonl.1",
        ".jsonl",
        "",
    ] {
        assert_eq!(stamp(name), None, "{name}");
    }
}

#[test]
fn dates_count_up_and_numbers_count_down() {
    let age = |one, other| stamp(one).unwrap().by_age(&stamp(other).unwrap());
    for (older, newer) in [
        ("ev.jsonl.10.gz", "ev.jsonl.9.gz"),
        ("ev.jsonl.2.gz", "ev.jsonl.1"),
        ("ev-20261129.jsonl", "ev-20261130.jsonl.gz"),
        ("ev.2026-11-30.9.jsonl", "ev.2026-11-30.10.jsonl"),
    ] {
        assert_eq!(age(older, newer), Some(Ordering::Less), "{older} {newer}");
        assert_eq!(age(newer, older), Some(Ordering::Greater));
    }
    assert_eq!(age("ev.jsonl.1", "ev-20261130.jsonl"), None);
}

#[test]
fn a_number_before_the_extension_is_no_certain_rotation() {
    for (name, certain) in [
        ("ev-1.jsonl", false),
        ("ev.jsonl.1", true),
        ("ev-20261130.jsonl", true),
    ] {
        assert_eq!(stamp(name).unwrap().is_certain(), certain, "{name}");
    }
}

#[test]
fn files_that_differ_by_their_date_are_one_log() {
    let undated = |name| undated(OsStr::new(name));
    assert_eq!(undated("ev.2026-11-30"), undated("ev.2026-12-01"));
    assert_eq!(
        undated("ev-20261130.jsonl.gz"),
        undated("ev-20261201.jsonl")
    );
    assert_ne!(undated("ev-20261130.jsonl"), undated("ex-20261130.jsonl"));
    assert_eq!(undated("ev.2026-11-30.jsonl").unwrap(), b"ev.*.jsonl");
    assert_eq!(undated("part-0001.jsonl"), None);
}
