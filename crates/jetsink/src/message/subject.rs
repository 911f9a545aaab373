//! Subjects, subject templates and the tokens that fill them. Pure.
//!
//! A tenant id comes from outside and must never choose more than its own token: an id such as
//! `a.b` or `>` would otherwise land in another tenant's space.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The placeholder for the tenant in a subject template.
pub const TENANT_ID_PLACEHOLDER: &str = "{tenantId}";

/// The tenant token of an event that carries no tenant.
pub const TENANT_ID_DEFAULT_TOKEN: &str = "single";

/// The longest tenant id, in bytes.
pub const LONGEST_TENANT_ID: usize = 128;

/// The longest subject, in bytes: half of the server's default protocol line
/// (`max_control_line`, 4,096), past which it would close the connection for everybody.
pub const LONGEST_SUBJECT: usize = 2_048;

/// Why a text is not a subject, a template or a tenant token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// Nothing there.
    #[error("{what} is empty")]
    Empty {
        /// What was looked at: `subject`, `tenant id` …
        what: &'static str,
    },
    /// A character that may not stand there.
    #[error("{what} has {character:?} at byte {position}: {reason}")]
    Character {
        /// What was looked at.
        what: &'static str,
        /// The offending character.
        character: char,
        /// Its offset in bytes, from 0.
        position: usize,
        /// Why it may not stand there.
        reason: &'static str,
    },
    /// Two dots in a row, or a dot at an end.
    #[error("subject has an empty token at byte {position}")]
    EmptyToken {
        /// Where the token would begin, in bytes from 0.
        position: usize,
    },
    /// Too long.
    #[error("{what} is {bytes} bytes long; the limit is {limit}")]
    TooLong {
        /// What was looked at.
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
    /// A `{name}` that the template doesn't know.
    #[error(
        "subject template has an unknown placeholder {{{name}}}; known are {{tenantId}}, {{type}} and {{source}}"
    )]
    UnknownPlaceholder {
        /// The name between the braces.
        name: String,
    },
}

/// A subject that one message can be published to: tokens, no wildcards, at most
/// [`LONGEST_SUBJECT`] bytes.
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
    if text.len() > LONGEST_SUBJECT {
        return Err(SubjectError::TooLong {
            what: WHAT,
            bytes: text.len(),
            limit: LONGEST_SUBJECT,
        });
    }
    let mut position = 0;
    for token in text.split('.') {
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

/// Why `character` can't stand within one token of a published subject.
fn offence(character: char) -> Option<&'static str> {
    match character {
        '.' => Some("'.' separates subject tokens"),
        '*' | '>' => Some("wildcards are for subscribers"),
        _ if character.is_whitespace() => Some("white space ends a subject"),
        _ if character.is_control() => Some("control characters are not allowed in subjects"),
        _ => None,
    }
}

/// Checks that a tenant id is one subject token: not empty, no `.`, `*`, `>`, white space or control
/// character, no leading `$`, at most [`LONGEST_TENANT_ID`] bytes.
///
/// # Errors
/// [`SubjectError`], which names the offending character.
///
/// ```
/// use jetsink::subject::check_tenant_id;
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
    if id.len() > LONGEST_TENANT_ID {
        return Err(SubjectError::TooLong {
            what: WHAT,
            bytes: id.len(),
            limit: LONGEST_TENANT_ID,
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

/// Makes one token of any text: percent-encodes each byte of a character that can't stand in a
/// token, a leading `$`, and every `%`, so that two texts never give the same token. The empty text
/// becomes a lone `%`, which nothing else gives.
///
/// ```
/// use jetsink::subject::encode_token;
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

/// What to do with a tenant id that is not one subject token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TenantPolicy {
    /// Refuse the event with an error that names the offending character.
    #[default]
    Refuse,
    /// Percent-encode the id ([`encode_token`]). Ids longer than [`LONGEST_TENANT_ID`] bytes are
    /// refused all the same.
    Encode,
}

/// The values that fill a template's placeholders.
#[derive(Debug, Clone, Copy)]
pub struct TemplateValues<'a> {
    /// For `{tenantId}`; `None` gives [`TENANT_ID_DEFAULT_TOKEN`].
    pub tenant: Option<&'a str>,
    /// For `{type}`.
    pub event_type: &'a str,
    /// For `{source}`.
    pub source: &'a str,
}

/// A subject with placeholders: `{tenantId}`, `{type}`, `{source}`. Each is filled with one token:
/// the tenant by [`TenantPolicy`], type and source percent-encoded where they need it (their dots
/// included, so that no type or source can add a level and reach into other subjects).
///
/// ```
/// use jetsink::subject::{SubjectTemplate, TemplateValues, TenantPolicy};
///
/// let template: SubjectTemplate = "cellos.events.{tenantId}.{type}".parse()?;
/// let values = TemplateValues { tenant: Some("acme"), event_type: "cell.started", source: "s" };
/// let subject = template.resolve(&values, TenantPolicy::Refuse)?;
/// assert_eq!(subject.as_str(), "cellos.events.acme.cell%2Estarted");
///
/// let values = TemplateValues { tenant: None, ..values };
/// let subject = template.resolve(&values, TenantPolicy::Refuse)?;
/// assert_eq!(subject.as_str(), "cellos.events.single.cell%2Estarted");
/// # Ok::<(), jetsink::subject::SubjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectTemplate {
    text: String,
    parts: Vec<Part>,
    /// Filled once, where there is nothing to fill in.
    fixed: Option<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Tenant,
    Type,
    Source,
}

impl SubjectTemplate {
    /// Checks and takes apart a template.
    ///
    /// # Errors
    /// [`SubjectError`] for an unknown placeholder or one that is never closed, or where the
    /// template could give no valid subject.
    pub fn new(text: impl Into<String>) -> Result<Self, SubjectError> {
        let text = text.into();
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            let Some(length) = rest[open..].find('}') else {
                let position = text.len() - rest.len() + open;
                return Err(SubjectError::UnclosedPlaceholder { position });
            };
            let name = &rest[open + 1..open + length];
            let part = match name {
                "tenantId" => Part::Tenant,
                "type" => Part::Type,
                "source" => Part::Source,
                _ => {
                    return Err(SubjectError::UnknownPlaceholder {
                        name: name.to_owned(),
                    });
                }
            };
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            parts.push(part);
            rest = &rest[open + length + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let mut template = Self {
            text,
            parts,
            fixed: None,
        };
        // Every placeholder gives one valid token, so one sample stands for all.
        let sample = template.fill(&TemplateValues {
            tenant: None,
            event_type: "t",
            source: "s",
        })?;
        if template.parts.iter().all(|p| matches!(p, Part::Literal(_))) {
            template.fixed = Some(sample);
        }
        Ok(template)
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the tenant decides the subject.
    #[must_use]
    pub fn names_tenant(&self) -> bool {
        self.parts.contains(&Part::Tenant)
    }

    /// The subject for `values`.
    ///
    /// # Errors
    /// [`SubjectError`] for a tenant id that the policy refuses, and for a subject that gets longer
    /// than [`LONGEST_SUBJECT`].
    pub fn resolve(
        &self,
        values: &TemplateValues<'_>,
        policy: TenantPolicy,
    ) -> Result<Subject, SubjectError> {
        if let Some(subject) = &self.fixed {
            return Ok(subject.clone());
        }
        let mut values = *values;
        let encoded;
        if let (true, Some(tenant)) = (self.names_tenant(), values.tenant) {
            match policy {
                TenantPolicy::Refuse => check_tenant_id(tenant)?,
                TenantPolicy::Encode if tenant.len() > LONGEST_TENANT_ID => {
                    check_tenant_id(tenant)?;
                }
                TenantPolicy::Encode => {
                    encoded = encode_token(tenant);
                    values.tenant = Some(&encoded);
                }
            }
        }
        self.fill(&values)
    }

    fn fill(&self, values: &TemplateValues<'_>) -> Result<Subject, SubjectError> {
        let mut text = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Tenant => text.push_str(values.tenant.unwrap_or(TENANT_ID_DEFAULT_TOKEN)),
                Part::Type => text.push_str(&encode_token(values.event_type)),
                Part::Source => text.push_str(&encode_token(values.source)),
            }
        }
        Subject::new(text)
    }
}

impl FromStr for SubjectTemplate {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
