//! Compressed input: gzip and zstd, recognised by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest window of a zstd frame, as that of the `zstd` command without `--long`.
const MAX_WINDOW: u64 = 128 << 20;

/// The form of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Gzip,
    Zstd,
}

/// The number of bytes that decide the form.
const MAGIC: usize = 4;

impl Form {
    /// The form of content that begins with these bytes.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1F, 0x8B, ..] => Self::Gzip,
            // A frame, or one to skip before it.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Whether content that begins with these bytes can still have any form.
    pub(super) fn is_open(start: &[u8]) -> bool {
        let can_be = |magic: &[u8]| start.len() < magic.len() && magic.starts_with(start);
        let skippable = matches!(start, [0x50..=0x5F] | [0x50..=0x5F, 0x2A])
            || matches!(start, [0x50..=0x5F, 0x2A, 0x4D]);
        can_be(&[0x1F, 0x8B]) || can_be(&[0x28, 0xB5, 0x2F, 0xFD]) || skippable
    }

    /// Decodes a source of this form.
    pub(super) fn decode(self, source: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(source))),
            Self::Zstd => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(MAX_WINDOW);
                Box::new(ZstdFrames {
                    source: BufReader::new(source),
                    decoder,
                    in_frame: false,
                })
            }
        }
    }
}

/// Decodes a source of the form that its first bytes have. They are read with the first bytes of the content: a pipe may
/// have none yet.
pub(super) enum Decoded<R> {
    Unread(Option<R>),
    Read(Box<dyn Read + Send>),
}

impl<R: Read + Send + 'static> Decoded<R> {
    pub(super) fn new(source: R) -> Self {
        Self::Unread(Some(source))
    }
}

impl<R: Read + Send + 'static> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Unread(source) = self {
            let Some(mut source) = source.take() else {
                return Ok(0); // an error ended it
            };
            let mut start = Vec::new();
            while start.len() < MAGIC && Form::is_open(&start) {
                let mut byte = [0];
                match source.read(&mut byte) {
                    Ok(0) => break,
                    Ok(_) => start.push(byte[0]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            let form = Form::of(&start);
            *self = Self::Read(form.decode(io::Cursor::new(start).chain(source)));
        }
        match self {
            Self::Read(decoder) => decoder.read(buffer),
            Self::Unread(_) => Ok(0),
        }
    }
}

/// Reads up to `bytes` bytes; fewer only at the end.
pub(super) fn read_start(source: &mut dyn Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(bytes);
    source.take(bytes as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// The frames of a zstd file, one after another.
struct ZstdFrames<R> {
    source: BufReader<R>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: Read> ZstdFrames<R> {
    /// Begins the next frame; `false` at the end of the source.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink());
                    if skipped? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(corrupt(error)),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.source, strategy);
                decoded.map_err(corrupt)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let expected = self.decoder.get_checksum_from_data();
            if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "wrong checksum of a zstd frame",
                ));
            }
            self.in_frame = false;
        }
    }
}

fn corrupt(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}

#[cfg(test)]
#[path = "tests/decode.rs"]
mod tests;
