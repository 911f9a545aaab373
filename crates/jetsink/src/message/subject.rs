//! Subjects, and the tokens that events fill into them. Pure.
//!
//! A tenant id comes from outside and must never choose more than its own token: an id such as
//! `a.b` or `>` would otherwise land in another tenant's space.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The placeholder for the tenant in a subject template.
pub const TENANT_ID_PLACEHOLDER: &str = "{tenantId}";

/// The tenant token of an event that carries no tenant.
pub const TENANT_ID_DEFAULT_TOKEN: &str = "single";

/// The maximum length of a tenant id, in bytes.
pub const MAX_TENANT_ID: usize = 128;

/// The maximum length of a subject, in bytes: half of the server's default protocol line
/// (`max_control_line`, 4,096). The server closes a connection with a longer line.
pub const MAX_SUBJECT: usize = 2_048;

/// The error of a text that is not a subject, a template or a tenant token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// Nothing there.
    #[error("{what} is empty")]
    Empty {
        /// The text that was checked: `subject`, `tenant id` …
        what: &'static str,
    },
    /// A character that is not allowed.
    #[error("{what} has {character:?} at byte {position}: {reason}")]
    Character {
        /// The text that was checked.
        what: &'static str,
        /// The offending character.
        character: char,
        /// Its offset in bytes, from 0.
        position: usize,
        /// The broken rule.
        reason: &'static str,
    },
    /// Two dots in a row, or a dot at an end.
    #[error("subject has an empty token at byte {position}")]
    EmptyToken {
        /// The offset of the empty token, in bytes from 0.
        position: usize,
    },
    /// Too long.
    #[error("{what} is {bytes} bytes long; the limit is {limit}")]
    TooLong {
        /// The text that was checked.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A `{` without its `}`.
    #[error("subject template has a '{{' at byte {position} that is never closed")]
    UnclosedPlaceholder {
        /// Its offset in bytes, from 0.
        position: usize,
    },
    /// A `{name}` that is neither the tenant nor an attribute's name.
    #[error(
        "subject template has an unknown placeholder {{{name}}}; known are {{tenantId}} and each attribute in lower \
         case, such as {{type}}, {{type:levels}} or {{subject|none}}"
    )]
    UnknownPlaceholder {
        /// The text between the braces.
        name: String,
    },
    /// A default that can't fill its placeholder.
    #[error("subject template has an invalid default in {{{placeholder}}}: {reason}")]
    Default {
        /// The text between the braces.
        placeholder: String,
        /// The broken rule.
        reason: String,
    },
    /// Placeholders where events could choose more than their tokens.
    #[error("subject template {reason}")]
    Template {
        /// The broken rule of templates.
        reason: &'static str,
    },
    /// The event lacks an attribute that the template names without a default.
    #[error(
        "the event has no attribute `{name}`, which the subject template names; add it, or a default: {{{name}|none}}"
    )]
    MissingAttribute {
        /// The attribute's name.
        name: String,
    },
}

/// A subject that one message can be published to: tokens, no wildcards, at most
/// [`MAX_SUBJECT`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`SubjectError`] for an empty text, an empty token, a wildcard, white space, a control
    /// character, a leading `$` (the server's own subjects) or one that is too long.
    pub fn new(text: impl Into<String>) -> Result<Self, SubjectError> {
        let text = text.into();
        check_subject(&text)?;
        Ok(Self(text.into()))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Borrow<str> for Subject {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

fn check_subject(text: &str) -> Result<(), SubjectError> {
    const WHAT: &str = "subject";
    if text.is_empty() {
        return Err(SubjectError::Empty { what: WHAT });
    }
    if text.len() > MAX_SUBJECT {
        return Err(SubjectError::TooLong {
            what: WHAT,
            bytes: text.len(),
            limit: MAX_SUBJECT,
        });
    }
    let mut position = 0;
    for token in text.as_bytes().split(|byte| *byte == b'.') {
        if token.is_empty() {
            return Err(SubjectError::EmptyToken { position });
        }
        position += token.len() + 1;
    }
    for (position, character) in text.char_indices() {
        let offence = match character {
            '.' => None,
            '$' if position == 0 => Some(SYSTEM_SUBJECT),
            _ => offence(character),
        };
        if let Some(reason) = offence {
            return Err(SubjectError::Character {
                what: WHAT,
                character,
                position,
                reason,
            });
        }
    }
    Ok(())
}

const SYSTEM_SUBJECT: &str = "a leading '$' names the server's own subjects";

/// Returns the rule by which a token of a published subject can't contain `character`.
fn offence(character: char) -> Option<&'static str> {
    match character {
        '.' => Some("'.' separates subject tokens"),
        '*' | '>' => Some("wildcards are for subscribers"),
        // Most characters.
        '!'..='~' => None,
        _ if character.is_whitespace() => Some("white space ends a subject"),
        _ if character.is_control() => Some("control characters are not allowed in subjects"),
        _ => None,
    }
}

/// Checks that a tenant id is one subject token: not empty, no `.`, `*`, `>`, white space or control
/// character, no leading `$`, at most [`MAX_TENANT_ID`] bytes.
///
/// # Errors
/// [`SubjectError`], which names the offending character.
///
/// ```
/// use jetsink::check_tenant_id;
///
/// assert!(check_tenant_id("acme").is_ok());
/// let error = check_tenant_id("a.b").expect_err("a dot would reach another tenant's space");
/// assert_eq!(error.to_string(), "tenant id has '.' at byte 1: '.' separates subject tokens");
/// ```
pub fn check_tenant_id(id: &str) -> Result<(), SubjectError> {
    const WHAT: &str = "tenant id";
    if id.is_empty() {
        return Err(SubjectError::Empty { what: WHAT });
    }
    if id.len() > MAX_TENANT_ID {
        return Err(SubjectError::TooLong {
            what: WHAT,
            bytes: id.len(),
            limit: MAX_TENANT_ID,
        });
    }
    for (position, character) in id.char_indices() {
        let reason = match character {
            '$' if position == 0 => Some(SYSTEM_SUBJECT),
            _ => offence(character),
        };
        if let Some(reason) = reason {
            return Err(SubjectError::Character {
                what: WHAT,
                character,
                position,
                reason,
            });
        }
    }
    Ok(())
}

/// Makes one token of any text. Percent-encodes each byte of a character that no token can contain, a leading `$`, and
/// every `%`, so that two texts never have the same token. The empty text becomes a lone `%`, which no other text
/// becomes.
///
/// ```
/// use jetsink::encode_token;
///
/// assert_eq!(encode_token("acme"), "acme");
/// assert_eq!(encode_token("a.b"), "a%2Eb");
/// assert_eq!(encode_token("a%2Eb"), "a%252Eb");
/// assert_eq!(encode_token(""), "%");
/// ```
#[must_use]
pub fn encode_token(text: &str) -> Cow<'_, str> {
    let offends = |position: usize, character: char| {
        character == '%' || (character == '$' && position == 0) || offence(character).is_some()
    };
    if text.is_empty() {
        return Cow::Borrowed("%");
    }
    if !text
        .char_indices()
        .any(|(position, c)| offends(position, c))
    {
        return Cow::Borrowed(text);
    }
    let mut token = String::with_capacity(text.len() + 8);
    let mut bytes = [0; 4];
    for (position, character) in text.char_indices() {
        if offends(position, character) {
            for byte in character.encode_utf8(&mut bytes).bytes() {
                push_percent_encoded(&mut token, byte);
            }
        } else {
            token.push(character);
        }
    }
    Cow::Owned(token)
}

/// Appends `%XX`, upper-case.
pub(crate) fn push_percent_encoded(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 0xF)]));
}

/// The treatment of a tenant id that is not one subject token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TenantPolicy {
    /// Refuse the event with an error that names the offending character.
    #[default]
    Refuse,
    /// Percent-encode the id ([`encode_token`]). Ids longer than [`MAX_TENANT_ID`] bytes are
    /// refused all the same.
    Encode,
}
