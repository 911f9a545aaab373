//! Splits a stream of JSON values: pretty-printed or concatenated events, and arrays of events.

use std::io::{Read, Result};

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::{memchr_iter, memrchr};

use crate::lines::{MAX_LINE, fill};

/// Separates the values of a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1E;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A value, or the place at which the stream is no JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Its bytes; empty if it is longer than [`MAX_LINE`].
    pub(super) raw: Bytes,
    pub(super) start: Position,
    /// The reason why it can't be an event.
    pub(super) problem: Option<String>,
    /// Whether nothing behind it can be read.
    pub(super) ends_input: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: u64,
    /// From 1, in bytes.
    pub(super) column: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Value(Value),
    /// The next value is not complete in memory.
    NeedsBytes,
    /// Nothing follows that could be read.
    End,
}

/// The place between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a value of the stream.
    Stream,
    /// Behind `[` of a batch.
    BatchStart,
    /// Behind a comma of a batch.
    BatchItem,
    /// Behind an event of a batch.
    BatchNext,
    /// Behind an error: the start of the next value is unknown.
    Broken,
}

/// The kind of the value that is being scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// An object or an array.
    Nested {
        depth: usize,
        string: InString,
    },
    Text {
        string: InString,
    },
    /// A number, a boolean, null, or something that is no JSON.
    Scalar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    /// Behind a backslash.
    Escape,
}

pub(super) struct Values {
    source: Box<dyn Read + Send>,
    buffer: BytesMut,
    is_at_end: bool,
    /// Whether the first bytes were looked at.
    has_begun: bool,
    place: Place,
    /// The position of the first byte of the buffer.
    position: Position,
    token: Option<Token>,
    /// The number of bytes of the token that were scanned.
    scanned: usize,
    /// The position of a value that is too long; its bytes are dropped.
    too_long: Option<Position>,
}

impl Values {
    pub(super) fn new(source: impl Read + Send + 'static) -> Self {
        Self {
            source: Box::new(source),
            buffer: BytesMut::new(),
            is_at_end: false,
            has_begun: false,
            place: Place::Stream,
            position: Position { line: 1, column: 1 },
            token: None,
            scanned: 0,
            too_long: None,
        }
    }

    /// Reads more bytes. Call it when [`step`](Self::step) needs them.
    pub(super) fn fill(&mut self) -> Result<()> {
        self.is_at_end = fill(&mut *self.source, &mut self.buffer)? == 0;
        Ok(())
    }

    /// Returns the next value, without reading.
    pub(super) fn step(&mut self) -> Step {
        if !self.has_begun {
            let is_mark = self.buffer.starts_with(BYTE_ORDER_MARK);
            let can_be_mark = BYTE_ORDER_MARK.starts_with(&self.buffer[..]);
            if !is_mark && can_be_mark && !self.is_at_end {
                return Step::NeedsBytes;
            }
            self.has_begun = true;
            self.buffer
                .advance(if is_mark { BYTE_ORDER_MARK.len() } else { 0 });
        }
        loop {
            if let Some(token) = self.token {
                return self.scan(token);
            }
            self.skip_space();
            let Some(byte) = self.buffer.first().copied() else {
                if !self.is_at_end {
                    return Step::NeedsBytes;
                }
                return match self.place {
                    Place::Stream | Place::Broken => Step::End,
                    _ => self.broken("the array is not closed"),
                };
            };
            match (self.place, byte) {
                (Place::Broken, _) => return Step::End,
                (Place::Stream, b'[') => self.separator(Place::BatchStart),
                (Place::BatchStart | Place::BatchNext, b']') => self.separator(Place::Stream),
                (Place::BatchNext, b',') => self.separator(Place::BatchItem),
                (Place::BatchNext, _) => return self.broken("`,` or `]` is missing"),
                (_, b'{' | b'[') => self.begin(Token::Nested {
                    depth: 0,
                    string: InString::No,
                }),
                (_, b'"') => self.begin(Token::Text {
                    string: InString::No,
                }),
                (_, b',' | b']' | b'}' | b':') => {
                    let text = format!("`{}` is not the start of a value", char::from(byte));
                    return self.broken(&text);
                }
                _ => self.begin(Token::Scalar),
            }
        }
    }

    fn begin(&mut self, token: Token) {
        self.token = Some(token);
        self.scanned = 0;
    }

    fn separator(&mut self, place: Place) {
        self.consume(1);
        self.place = place;
    }

    fn skip_space(&mut self) {
        let in_stream = self.place == Place::Stream;
        let is_space =
            |byte: &u8| byte.is_ascii_whitespace() || (in_stream && *byte == RECORD_SEPARATOR);
        let length = self.buffer.iter().take_while(|byte| is_space(byte)).count();
        self.consume(length);
    }

    /// Scans the value at the start of the buffer.
    fn scan(&mut self, mut token: Token) -> Step {
        while let Some(byte) = self.buffer.get(self.scanned).copied() {
            match token.next(byte) {
                Scanned::Inside => self.scanned += 1,
                Scanned::Last => {
                    self.scanned += 1;
                    return self.complete();
                }
                Scanned::Behind => return self.complete(),
            }
        }
        if self.is_at_end {
            return match token {
                Token::Scalar => self.complete(),
                Token::Nested { .. } | Token::Text { .. } => {
                    self.broken("the input ends within this value")
                }
            };
        }
        self.token = Some(token);
        if self.scanned > MAX_LINE {
            self.too_long.get_or_insert(self.position);
            self.consume(self.scanned);
            self.scanned = 0;
        }
        Step::NeedsBytes
    }

    fn complete(&mut self) -> Step {
        self.token = None;
        self.place = match self.place {
            Place::Stream => Place::Stream,
            _ => Place::BatchNext,
        };
        let is_long = self.scanned > MAX_LINE;
        let start = self.too_long.take();
        let (position, is_long) = (start.unwrap_or(self.position), start.is_some() || is_long);
        let raw = self.take(self.scanned);
        let problem = is_long.then(|| format!("the event is longer than {MAX_LINE} bytes"));
        Step::Value(Value {
            raw: if is_long { Bytes::new() } else { raw },
            start: position,
            problem,
            ends_input: false,
        })
    }

    /// Ends the stream at an error.
    fn broken(&mut self, problem: &str) -> Step {
        self.token = None;
        self.place = Place::Broken;
        let start = self.too_long.take().unwrap_or(self.position);
        let end = self.buffer.len().min(MAX_LINE);
        Step::Value(Value {
            raw: self.buffer.split_to(end).freeze(),
            start,
            problem: Some(format!(
                "not a stream of JSON values: {problem}; reading stops here"
            )),
            ends_input: true,
        })
    }

    /// Drops bytes at the start of the buffer.
    fn consume(&mut self, length: usize) {
        self.take(length);
    }

    /// Takes bytes from the start of the buffer, and follows the position.
    fn take(&mut self, length: usize) -> Bytes {
        let bytes = self.buffer.split_to(length).freeze();
        match memrchr(b'\n', &bytes) {
            None => self.position.column += length,
            Some(last) => {
                self.position.line += memchr_iter(b'\n', &bytes).count() as u64;
                self.position.column = length - last;
            }
        }
        bytes
    }
}

/// The place of a byte in a value.
enum Scanned {
    Inside,
    /// The value ends with it.
    Last,
    /// The value ends before it.
    Behind,
}

impl Token {
    fn next(&mut self, byte: u8) -> Scanned {
        match self {
            Self::Scalar => {
                let is_end = byte.is_ascii_whitespace() || b",]}[{\"\x1E".contains(&byte);
                if is_end {
                    Scanned::Behind
                } else {
                    Scanned::Inside
                }
            }
            Self::Text { string } => {
                let was_inside = *string != InString::No;
                *string = string.next(byte);
                if was_inside && *string == InString::No {
                    Scanned::Last
                } else {
                    Scanned::Inside
                }
            }
            Self::Nested { depth, string } => {
                if *string == InString::No {
                    match byte {
                        b'{' | b'[' => *depth += 1,
                        b'}' | b']' => *depth -= 1,
                        _ => {}
                    }
                }
                *string = string.next(byte);
                if *depth == 0 {
                    Scanned::Last
                } else {
                    Scanned::Inside
                }
            }
        }
    }
}

impl InString {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::No, b'"') | (Self::Escape, _) => Self::Yes,
            (Self::No, _) | (Self::Yes, b'"') => Self::No,
            (Self::Yes, b'\\') => Self::Escape,
            (Self::Yes, _) => Self::Yes,
        }
    }
}

#[cfg(test)]
#[path = "tests/values.rs"]
mod tests;
