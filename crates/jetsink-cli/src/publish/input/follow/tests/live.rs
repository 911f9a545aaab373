use std::io::Write as _;

use super::*;

fn read(live: &mut LiveFile) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let read = live.read(&mut buffer).unwrap();
    buffer[..read].to_vec()
}

fn file(content: &[u8]) -> (std::fs::File, Arc<File>) {
    let named = tempfile::NamedTempFile::new().unwrap();
    let mut writer = named.reopen().unwrap();
    writer.write_all(content).unwrap();
    (writer, Arc::new(named.reopen().unwrap()))
}

#[test]
fn a_file_is_read_as_it_grows() {
    let (mut writer, file) = file(b"one\n");
    let state = LiveState::default();
    let mut live = LiveFile::new(file, 0, Vec::new(), state.clone()).unwrap();
    assert_eq!(read(&mut live), b"one\n");
    assert_eq!(read(&mut live), b"");
    writer.write_all(b"two\n").unwrap();
    assert_eq!(read(&mut live), b"two\n");
    assert!(!state.is_truncated());
    assert_eq!(state.head(), b"one\ntwo\n");
}

#[test]
fn a_truncation_is_noticed_whatever_the_file_contains_then() {
    let long = b"same start\n".repeat(200);
    let mut other_tail = long.clone();
    other_tail.truncate(1_500);
    other_tail.extend_from_slice(&[b'x'; 1_000]);
    for (before, after) in [
        (&b"one\n"[..], &b""[..]),
        (b"one\n", b"two\n"),
        (b"one\n", b"two\nand more\n"),
        (&long, &other_tail),
    ] {
        let (mut writer, file) = file(before);
        let state = LiveState::default();
        let mut live = LiveFile::new(file, 0, Vec::new(), state.clone()).unwrap();
        assert_eq!(read(&mut live), before);
        writer.set_len(0).unwrap();
        io::Seek::rewind(&mut writer).unwrap();
        writer.write_all(after).unwrap();
        assert_eq!(read(&mut live), b"", "{after:?}");
        assert!(state.is_truncated(), "{after:?}");
    }
}
