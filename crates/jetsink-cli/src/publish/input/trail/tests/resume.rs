use std::io::Cursor;
use std::path::Path;

use super::super::chain::Chain;
use super::super::tests::recorded_rows;
use super::*;

const START: ReadBefore = ReadBefore {
    offset: 0,
    line: 0,
    chain: None,
    previous: None,
};

/// The position behind these lines.
fn behind(lines: &[&[u8]]) -> ReadBefore {
    let text = lines.concat();
    let mut trail = Trail::new(OnBrokenChain::Continue);
    let (line, _) = trail
        .verify(Cursor::new(text.clone()), text.len() as u64)
        .unwrap();
    ReadBefore {
        offset: text.len() as u64,
        line,
        chain: Some(trail.progress()),
        previous: None,
    }
}

fn resume(before: ReadBefore, lines: &[&[u8]], on_broken: OnBrokenChain) -> Resumed {
    let text = lines.concat();
    let location = LineLocation {
        file: Path::new("audit-trail.jsonl").into(),
        index: 0,
        line: 0,
        event: None,
    };
    let content = || -> Box<dyn Read + Send> { Box::new(Cursor::new(text.clone())) };
    let mut trail = Trail::new(on_broken);
    trail.resume(before, &location, content).unwrap()
}

/// The offset at which verified rows are read, the one behind which rows are published, and whether a row is lost.
fn places(resumed: &Resumed) -> (u64, u64, bool) {
    (resumed.offset, resumed.wanted_from, resumed.lost.is_some())
}

fn length(lines: &[&[u8]]) -> u64 {
    lines.concat().len() as u64
}

const BOTH: [OnBrokenChain; 2] = [OnBrokenChain::Stop, OnBrokenChain::Continue];

#[test]
fn an_unchanged_trail_continues_at_the_position() {
    let rows = recorded_rows();
    for on_broken in BOTH {
        for read in 1..rows.len() {
            let before = behind(&rows[..read]);
            let resumed = resume(before, &rows, on_broken);
            assert_eq!(places(&resumed), (before.offset, before.offset, false));
            assert_eq!(resumed.line, read as u64);
        }
    }
}

#[test]
fn breaks_before_the_position_are_known_to_a_run_that_continues() {
    let rows = recorded_rows();
    let junk: &[u8] = b"no row\n";
    let text = String::from_utf8(rows[2].to_vec()).unwrap();
    let altered = text.replace(r#""specversion":"1.0""#, r#""specversion":"1.1""#);
    let altered = altered.as_bytes();
    for read in [
        &[rows[0], rows[1], rows[3], rows[1]][..], // the last row is a repeated one
        &[rows[0], rows[1], junk],
        &[rows[0], rows[1], b"\n", junk, b"\r\n"],
        &[rows[0], rows[1], altered],
        &[junk, junk],
    ] {
        let before = behind(read);
        let more = [read, &[rows[4]]].concat();
        let resumed = resume(before, &more, OnBrokenChain::Continue);
        assert_eq!(places(&resumed), (before.offset, before.offset, false));
        assert_eq!(resumed.line, read.len() as u64);
        // A run that stops reports the first one again.
        let resumed = resume(before, &more, OnBrokenChain::Stop);
        assert_eq!(places(&resumed), (0, before.offset, false));
    }
}

#[test]
fn a_change_of_any_line_before_the_position_begins_at_the_first_row() {
    let rows = recorded_rows();
    let before = behind(&[rows[0], rows[1], b"no row\n", rows[2], rows[3]]);
    let text = String::from_utf8(rows[1].to_vec()).unwrap();
    let altered = text.replace(r#""specversion":"1.0""#, r#""specversion":"1.1""#);
    let altered = altered.as_bytes();
    for changed in [
        [rows[0], altered, b"no row\n", rows[2], rows[3], rows[4]],
        [rows[0], rows[1], b"no raw\n", rows[2], rows[3], rows[4]],
    ] {
        let resumed = resume(before, &changed, OnBrokenChain::Continue);
        assert_eq!(places(&resumed), (0, before.offset, false));
        // The next run knows the change, once this one has reported its breaks.
        let next = ReadBefore {
            chain: resumed.unreported,
            ..before
        };
        let resumed = resume(next, &changed, OnBrokenChain::Continue);
        assert_eq!(places(&resumed), (before.offset, before.offset, false));
    }
    // The row at the position is elsewhere now.
    let longer = [rows[0], rows[1], b"no row, twice\n", rows[2], rows[3]];
    let resumed = resume(before, &longer, OnBrokenChain::Continue);
    assert_eq!(places(&resumed), (0, length(&longer), false));
}

#[test]
fn a_row_that_is_lost_at_the_position_is_reported() {
    let rows = recorded_rows();
    for on_broken in BOTH {
        let before = behind(&rows[..5]);
        for left in [&rows[..4], &[], &[&rows[..4], &rows[5..]].concat()] {
            let resumed = resume(before, left, on_broken);
            assert_eq!(places(&resumed), (0, 0, true), "{}", left.len());
        }
    }
}

#[test]
fn rows_that_no_run_has_verified_are_reported_and_not_published() {
    let rows = recorded_rows();
    let end = length(&rows[..5]);
    let unknown = ReadBefore {
        offset: end,
        line: 5,
        ..START
    };
    let resumed = resume(unknown, &rows, OnBrokenChain::Continue);
    assert_eq!(places(&resumed), (end, end, false));
    let broken = [&rows[..2], &rows[3..]].concat();
    let unknown = ReadBefore {
        offset: length(&broken[..5]),
        ..unknown
    };
    let resumed = resume(unknown, &broken, OnBrokenChain::Continue);
    assert_eq!(places(&resumed), (0, unknown.offset, false));
    assert_eq!(resumed.chain, None, "they are not reported yet");
    // The next run knows them.
    let next = ReadBefore {
        chain: resumed.unreported,
        ..unknown
    };
    let resumed = resume(next, &broken, OnBrokenChain::Continue);
    assert_eq!(places(&resumed), (next.offset, next.offset, false));
}

#[test]
fn a_new_content_is_a_new_chain_unless_it_begins_with_the_same_row() {
    let rows = recorded_rows();
    let after = ReadBefore {
        previous: behind(&rows[..5]).chain,
        ..START
    };
    let (new, _) = super::super::tests::row(0, "{}", Hash::from_bytes([0; 32]));
    let new = format!("{new}\n");
    for (content, expected) in [
        (&[new.as_bytes()][..], (0, 0, false)),
        (&rows[..3], (0, 0, true)),
        (&rows[..1], (0, 0, true)),
        (&[rows[0], new.as_bytes()], (0, 0, true)),
        (&rows[..7], (0, length(&rows[..5]), false)),
        // The chain reports that its first row is not the first one.
        (&rows[6..], (0, 0, false)),
        (&[&rows[0][..100]], (0, 0, false)),
        (&[], (0, 0, false)),
    ] {
        let resumed = resume(after, content, OnBrokenChain::Continue);
        assert_eq!(places(&resumed), expected, "{}", content.len());
    }
}

#[test]
fn a_row_is_found_by_its_own_hash_only() {
    let rows = recorded_rows();
    let mut chain = Chain::new(None);
    for (row, number) in rows.iter().zip(1..) {
        chain.line(&Bytes::copy_from_slice(row), number);
        let hash = chain.progress().last.unwrap();
        let found = find_row(Cursor::new(rows.concat()), &hash).unwrap();
        let (first, end) = (
            chain.progress().first,
            Some(length(&rows[..number as usize])),
        );
        assert_eq!(found, Found { first, end });
    }
}
