use super::*;

const EVENT: &str = r#"{"id":"1","source":"s","specversion":"1.0","type":"t"}"#;

/// The rows of events, as CellOS writes them.
fn rows(events: &[&str]) -> Vec<Bytes> {
    let mut last = START;
    let row = |(sequence, event): (usize, &&str)| {
        let (row, hash) = super::super::tests::row(sequence, event, last);
        last = hash;
        Bytes::from(row)
    };
    events.iter().enumerate().map(row).collect()
}

/// A chain behind the first `read` of these rows.
fn behind(rows: &[Bytes], read: usize) -> Chain {
    let mut chain = Chain::new(None);
    for row in &rows[..read] {
        assert_eq!(chain.next(row).1, None);
    }
    chain
}

fn changed(row: &Bytes, from: &str, to: &str) -> Bytes {
    let text = std::str::from_utf8(row).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to).into()
}

#[test]
fn a_row_has_its_event_as_it_was_written() {
    let spaced = r#"{"id":"ü \u0001","n":[1.0,1e300,18446744073709551615]}"#;
    let rows = rows(&[EVENT, spaced]);
    let mut chain = Chain::new(None);
    for (row, event) in rows.iter().zip([EVENT, spaced]) {
        let (read, broken) = chain.next(row);
        let read = read.unwrap();
        assert_eq!((read.event.as_ref(), broken), (event.as_bytes(), None));
        assert_eq!(&row[read.at..read.at + event.len()], event.as_bytes());
    }
    assert_eq!(chain.take_awaited(), None);
}

#[test]
fn an_altered_row_has_no_event_and_names_both_hashes() {
    let rows = rows(&[EVENT, EVENT, EVENT]);
    let mut chain = behind(&rows, 1);
    let altered = changed(&rows[1], r#""source":"s""#, r#""source":"x""#);
    let (row, broken) = chain.next(&altered);
    assert_eq!(row, None);
    let Some(Broken::Altered { expected, found }) = broken else {
        panic!("{broken:?}");
    };
    assert_ne!(expected, found);
    assert!(rows[2].windows(64).any(|w| w == found.to_hex().as_bytes()));
    // The next row refers to the hash that is in the file.
    assert_eq!(chain.next(&rows[2]).1, None);
}

#[test]
fn a_row_behind_a_gap_has_its_event_and_names_both_hashes() {
    let rows = rows(&[EVENT, EVENT, EVENT]);
    let (row, broken) = behind(&rows, 1).next(&rows[2]);
    assert!(row.is_some());
    let hash_at = |row: &Bytes| Members::read(row).unwrap().row_hash;
    let expected = hash_at(&rows[0]);
    let found = hash_at(&rows[1]);
    assert_eq!(broken, Some(Broken::Moved { expected, found }));
    // The first row is missing.
    let (_, broken) = Chain::new(None).next(&rows[1]);
    let (expected, found) = (START, hash_at(&rows[0]));
    assert_eq!(broken, Some(Broken::Moved { expected, found }));
}

#[test]
fn rows_that_are_missing_at_the_end_are_noticed_by_the_saved_hash() {
    let rows = rows(&[EVENT, EVENT, EVENT]);
    let head = |row: &Bytes| Some(Members::read(row).unwrap().row_hash);
    for (saved, read, is_short) in [(2, 3, false), (1, 3, false), (2, 2, true), (2, 0, true)] {
        let mut chain = Chain::new(head(&rows[saved]));
        for row in &rows[..read] {
            assert_eq!(chain.next(row).1, None);
        }
        let missing = chain.take_awaited();
        assert_eq!(missing.is_some(), is_short, "row {saved} of {read}");
        assert_eq!(chain.take_awaited(), None, "reported once");
    }
}

#[test]
fn line_that_is_no_row_has_a_reason() {
    let rows = rows(&[EVENT]);
    let row = &rows[0];
    for (line, reason) in [
        (Bytes::from(EVENT), "its schema is not axiom.audit.v1"),
        (row.slice(..row.len() - 9), "it is no JSON object"),
        (changed(row, "audit.v1", "audit.v2"), "its schema"),
        (
            changed(row, r#","row_hash":""#, r#","row_hash":"A"#),
            "64 hex",
        ),
        (
            changed(row, r#""prev_hash":"0"#, r#""prev_hash":""#),
            "64 hex",
        ),
        (
            changed(row, r#""body":{"#, r#""bodies":{"#),
            "it has no event",
        ),
        (
            changed(row, r#","seq""#, r#", "seq""#),
            "has not written it",
        ),
        (
            changed(row, r#","seq""#, r#","seq":7,"seq""#),
            "has not written it",
        ),
    ] {
        let (event, broken) = Chain::new(None).next(&line);
        assert_eq!(event, None);
        let broken = broken.unwrap().to_string();
        assert!(broken.contains(reason), "{broken} for {line:?}");
    }
}

#[test]
fn the_digest_of_breaks_is_that_of_their_lines_and_places() {
    let rows = rows(&[EVENT, EVENT, EVENT]);
    let breaks = |lines: &[&[u8]]| {
        let mut chain = Chain::new(None);
        for (line, number) in lines.iter().zip(1..) {
            chain.line(&Bytes::copy_from_slice(line), number);
        }
        chain.progress().breaks
    };
    let [one, two, three] = [&rows[0][..], &rows[1], &rows[2]];
    assert_eq!(breaks(&[one, b"\n", two, three]), None);
    let gap = breaks(&[one, three]);
    assert!(gap.is_some());
    assert_eq!(breaks(&[one, three, b" \r\n"]), gap);
    // The line end is no part of the line.
    assert_eq!(breaks(&[one, &[three, b"\n"].concat()]), gap);
    for other in [
        &[one, b"", three][..],
        &[one, three, b"x"],
        &[one, b"x", three],
        &[one, b"y", three],
    ] {
        assert_ne!(breaks(other), gap, "{other:?}");
    }
    assert_ne!(breaks(&[one, b"x"]), breaks(&[one, b"y"]));
}
