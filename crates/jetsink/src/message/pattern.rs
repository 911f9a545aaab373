//! Subject patterns with the wildcards `*` and `>`, and the relations between them. Pure.

use std::fmt;
use std::str::FromStr;

use super::subject::{MAX_SUBJECT, Subject, SubjectError};

/// A set of subjects, as subscriptions, streams and consumers write it.
///
/// `*` matches one token; `>` is the last token and matches one token or more. A pattern without a wildcard
/// matches one subject. At most [`MAX_SUBJECT`] bytes.
///
/// ```
/// use jetsink::SubjectPattern;
///
/// # fn main() -> Result<(), jetsink::SubjectError> {
/// let stream = SubjectPattern::new("events.>")?;
/// let tenant = SubjectPattern::new("events.acme.*")?;
/// assert!(stream.matches("events.acme.started"));
/// assert!(stream.covers(&tenant));
/// assert!(tenant.overlaps(&SubjectPattern::new("events.*.started")?));
/// assert!(SubjectPattern::new("events.>.acme").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectPattern(String);

impl SubjectPattern {
    /// Checks `text`.
    ///
    /// Subjects of the server itself, such as `$JS.API.>`, are allowed. A wildcard must be a whole token: the
    /// server would take the `*` of `a.b*` literally, and no event has such a subject.
    ///
    /// # Errors
    /// [`SubjectError`] for an empty text or token, white space, a control character, a wildcard within a
    /// token, a `>` that is not the last token, and a text that is too long.
    pub fn new(text: impl Into<String>) -> Result<Self, SubjectError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// Returns the pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches `subject`, any text that a server may report.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        covers(&self.0, subject)
    }

    /// Returns whether the pattern matches every subject that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.0, &other.0)
    }

    /// Returns whether a subject exists that both patterns match.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        overlaps(&self.0, &other.0)
    }
}

/// Whether a subject exists that both patterns match.
pub(crate) fn overlaps(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// `narrow` is a subject, or a pattern whose wildcards only wildcards of `wide` match.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let mut tokens = narrow.split('.');
    for wanted in wide.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

fn check(text: &str) -> Result<(), SubjectError> {
    const WHAT: &str = "subject pattern";
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
    let mut start = 0;
    for token in text.split('.') {
        if token.is_empty() {
            return Err(SubjectError::EmptyToken { position: start });
        }
        let end = start + token.len();
        for (offset, character) in token.char_indices() {
            let reason = match character {
                '*' | '>' if token.len() > 1 => "a wildcard must be a whole token",
                '>' if end < text.len() => "'>' must be the last token",
                _ if character.is_whitespace() => "white space ends a subject",
                _ if character.is_control() => "control characters are not allowed in subjects",
                _ => continue,
            };
            return Err(SubjectError::Character {
                what: WHAT,
                character,
                position: start + offset,
                reason,
            });
        }
        start = end + 1;
    }
    Ok(())
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SubjectPattern {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl From<Subject> for SubjectPattern {
    fn from(subject: Subject) -> Self {
        Self(subject.as_str().to_owned())
    }
}

impl From<SubjectPattern> for String {
    fn from(pattern: SubjectPattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
#[path = "../tests/message/pattern.rs"]
mod tests;
