use super::*;

/// Returns a few bytes per read.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let most = into.len().min(self.1);
        self.0.read(&mut into[..most])
    }
}

fn lines(text: &'static [u8], at_a_time: usize) -> Vec<Bytes> {
    let mut lines = Lines::new(Slow(text, at_a_time));
    std::iter::from_fn(|| {
        let (line, length) = lines.next().unwrap()?;
        assert!(length >= line.len() as u64);
        Some(line)
    })
    .collect()
}

#[test]
fn lines_are_whole_for_any_size_of_a_read() {
    for at_a_time in [1, 3, 100] {
        assert_eq!(
            lines(b"a\nbb\r\n\nc", at_a_time),
            [&b"a\n"[..], b"bb\r\n", b"\n", b"c"]
        );
        assert!(lines(b"", at_a_time).is_empty());
    }
}

#[test]
fn a_line_that_is_too_long_is_bad_and_the_next_one_is_not() {
    for more in [0, 5, BLOCK, 3 * BLOCK + 1] {
        let mut text = vec![b'x'; MAX_LINE + 1 + more];
        text.extend_from_slice(b"\nnext\n");
        let read = lines(text.leak(), BLOCK);
        assert_eq!(read.len(), 2, "{more}");
        assert!(read[0].len() > MAX_LINE);
        assert_eq!(read[1], &b"next\n"[..]);
    }
}

#[test]
fn buffered_line_is_reported_without_a_read() {
    let mut lines = Lines::new(Slow(b"a\nb\nc", 4));
    assert!(!lines.has_next());
    lines.next().unwrap();
    assert!(lines.has_next());
    lines.next().unwrap();
    assert!(!lines.has_next());
}
