use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

fn text_of(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Decoded::new(io::Cursor::new(bytes)).read_to_end(&mut text)?;
    Ok(text)
}

#[test]
fn every_form_is_decoded_over_its_members_and_frames() {
    let text = b"line\n".repeat(100_000);
    let twice = text.repeat(2);
    assert_eq!(text_of(text.clone()).unwrap(), text);
    assert_eq!(text_of([gzip(&text), gzip(&text)].concat()).unwrap(), twice);
    let skippable = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let frames = [&skippable, &zstd(&text)[..], &skippable, &zstd(&text)].concat();
    assert_eq!(text_of(frames).unwrap(), twice);
    assert_eq!(text_of(Vec::new()).unwrap(), b"");
    assert_eq!(text_of(b"a".to_vec()).unwrap(), b"a");
    assert_eq!(text_of(gzip(b"")).unwrap(), b"");
}

#[test]
fn a_cut_or_damaged_file_returns_an_error() {
    let text: Vec<u8> = (0..50_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    for whole in [gzip(&text), zstd(&text)] {
        for end in [whole.len() / 2, whole.len() - 1] {
            assert!(text_of(whole[..end].to_vec()).is_err(), "{end}");
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        assert!(text_of(damaged).is_err());
    }
}

/// Returns one byte per read, and fails at its end as a pipe would wait.
struct Waiting(&'static [u8]);

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.split_first() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some((byte, rest)) => {
                buffer[0] = *byte;
                self.0 = rest;
                Ok(1)
            }
        }
    }
}

#[test]
fn a_short_line_of_a_pipe_is_not_held_back() {
    for text in [&b"1\n"[..], b"(\n", b"P\n"] {
        let mut decoded = Decoded::new(Waiting(text));
        let mut buffer = [0; 8];
        let first = decoded.read(&mut buffer).unwrap();
        let second = decoded.read(&mut buffer[first..]).unwrap_or(0);
        assert_eq!(&buffer[..first + second], text);
    }
}
