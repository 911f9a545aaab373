//! Checks names that become one token of a JetStream API subject.
//!
//! Source: nats-server 2.15.1, `server/stream.go`: `isValidName`, no path separators, at most 255 bytes
//! (`JSMaxNameLen`). All white space and all control characters are refused here, not only those that the
//! server refuses: a line break in a subject would end the protocol line, and the server would parse the
//! rest as the next command.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The longest name in bytes.
const MAX_BYTES: usize = 255;

/// The name of a stream: 1 to 255 bytes without white space, control characters and any of `. * > / \`.
///
/// ```
/// use jetsink::StreamName;
///
/// let name: StreamName = "CELLOS_EVENTS".parse()?;
/// assert_eq!(name.as_str(), "CELLOS_EVENTS");
/// assert!("EVENTS\r\nPUB other 0".parse::<StreamName>().is_err());
/// # Ok::<(), jetsink::StreamNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

/// The reason why a text is not a [`StreamName`]. `Display` is one line, and does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamNameError {
    /// The name is empty.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than 255 bytes.
    #[error("the name has {bytes} bytes; at most 255 are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The name contains a character that would not stay within one token of a subject.
    #[error(
        "the name contains {character:?} at byte {position}; white space, control characters and \
         . * > / \\ are not allowed"
    )]
    Character {
        /// The first such character.
        character: char,
        /// Its position in bytes.
        position: usize,
    },
}

impl StreamName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(name: &str) -> Result<Self, StreamNameError> {
        check_name(name)?;
        Ok(Self(name.to_owned()))
    }
}

impl TryFrom<String> for StreamName {
    type Error = StreamNameError;

    fn try_from(name: String) -> Result<Self, StreamNameError> {
        check_name(&name)?;
        Ok(Self(name))
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Checks the name of a stream or of a JetStream domain; the server has one rule for both.
pub(crate) fn check_name(name: &str) -> Result<(), StreamNameError> {
    if name.is_empty() {
        return Err(StreamNameError::Empty);
    }
    if name.len() > MAX_BYTES {
        return Err(StreamNameError::TooLong { bytes: name.len() });
    }
    let refused =
        |c: &char| matches!(c, '.' | '*' | '>' | '/' | '\\') || c.is_whitespace() || c.is_control();
    match name.char_indices().find(|(_, c)| refused(c)) {
        None => Ok(()),
        Some((position, character)) => Err(StreamNameError::Character {
            character,
            position,
        }),
    }
}
