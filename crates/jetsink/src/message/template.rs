//! Subject templates: literal tokens, and placeholders that an event's tenant and attributes fill. Pure.
//!
//! An event must never choose more than the tokens that the template leaves to it. Therefore:
//!
//! 1. The first token is literal: an event reaches neither the server's own subjects nor an inbox.
//! 2. A placeholder gives one token, whatever its value has in it, or, with `:levels`, one token per level.
//! 3. Two placeholders never share a token, and at most one has `:levels`. So each token of a subject comes from one
//!    placeholder, whose place is counted from the start or from the end, and no two events of different tenants get
//!    the same subject.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::subject::{
    MAX_TENANT_ID, Subject, SubjectError, TENANT_ID_DEFAULT_TOKEN, TenantPolicy, check_tenant_id,
    encode_token,
};

/// A subject with placeholders.
///
/// | placeholder | value |
/// | --- | --- |
/// | `{tenantId}` | the event's tenant, else `single` |
/// | `{type}`, `{source}`, `{subject}`, `{partitionkey}` … | the attribute of this name, as one token ([`encode_token`]) |
/// | `{type:levels}` | the attribute, each of its parts between dots as one token |
/// | `{subject\|none}`, `{subject:levels\|a.b}` | the attribute, else the text behind the `\|`; an event without an attribute that has no such text is refused |
///
/// ```
/// use std::borrow::Cow;
/// use jetsink::{SubjectTemplate, TenantPolicy};
///
/// let template: SubjectTemplate = "cellos.events.{tenantId}.{type:levels}".parse()?;
/// let attribute = |name: &str| (name == "type").then_some(Cow::Borrowed("cell.started"));
/// let subject = template.resolve(Some("acme"), TenantPolicy::Refuse, attribute)?;
/// assert_eq!(subject.as_str(), "cellos.events.acme.cell.started");
/// let subject = template.resolve(None, TenantPolicy::Refuse, attribute)?;
/// assert_eq!(subject.as_str(), "cellos.events.single.cell.started");
/// assert_eq!(template.filter(None), "cellos.events.*.>");
/// # Ok::<(), jetsink::SubjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectTemplate {
    text: String,
    parts: Vec<Part>,
    /// The attributes that it names, each once.
    attributes: Vec<String>,
    /// Its one subject if it has no placeholder.
    fixed: Option<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Placeholder {
    value: Value,
    default: Option<String>,
}

impl Placeholder {
    fn tenant_default(&self) -> &str {
        self.default.as_deref().unwrap_or(TENANT_ID_DEFAULT_TOKEN)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Tenant,
    /// An attribute as one token.
    Token(String),
    /// An attribute as one token per level.
    Levels(String),
}

impl SubjectTemplate {
    /// Checks and takes apart a template.
    ///
    /// # Errors
    /// [`SubjectError`] for an unknown placeholder, one that is never closed or has an invalid default, for a first token that is not
    /// literal, for two placeholders in one token, for more than one `:levels` or one that is not a token by itself,
    /// and for a template without a valid subject.
    pub fn new(text: impl Into<String>) -> Result<Self, SubjectError> {
        let text = text.into();
        let parts = parse(&text)?;
        check_tokens(&parts)?;
        let mut attributes = Vec::new();
        for part in &parts {
            if let Part::Placeholder(Placeholder {
                value: Value::Token(name) | Value::Levels(name),
                ..
            }) = part
                && !attributes.contains(name)
            {
                attributes.push(name.clone());
            }
        }
        let mut template = Self {
            text,
            parts,
            attributes,
            fixed: None,
        };
        // Every placeholder becomes valid tokens, so a valid sample shows that every subject is valid.
        let sample = template.sample()?;
        if template
            .parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
        {
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
    pub fn has_tenant(&self) -> bool {
        self.placeholders()
            .any(|placeholder| placeholder.value == Value::Tenant)
    }

    /// The token of each tenant placeholder for an event without a tenant. Empty unless the tenant decides the subject.
    pub fn tenant_defaults(&self) -> impl Iterator<Item = &str> {
        self.placeholders()
            .filter(|placeholder| placeholder.value == Value::Tenant)
            .map(Placeholder::tenant_default)
    }

    /// The attributes that decide the subject, each once.
    #[must_use]
    pub fn attributes(&self) -> &[String] {
        &self.attributes
    }

    fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Placeholder(placeholder) => Some(placeholder),
        })
    }

    /// Returns the narrowest subject filter that matches every subject of the template, or every one of one tenant.
    /// `tenant` is that tenant's token.
    #[must_use]
    pub fn filter(&self, tenant: Option<&str>) -> String {
        let mut filter = String::with_capacity(self.text.len());
        let mut token = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => {
                    for character in literal.chars() {
                        if character == '.' {
                            filter.push_str(&token);
                            filter.push('.');
                            token.clear();
                        } else if token != "*" {
                            token.push(character);
                        }
                    }
                }
                Part::Placeholder(Placeholder {
                    value: Value::Levels(_),
                    ..
                }) => {
                    filter.push('>');
                    return filter;
                }
                Part::Placeholder(placeholder) => match (&placeholder.value, tenant) {
                    (Value::Tenant, Some(tenant)) => token.push_str(tenant),
                    _ => "*".clone_into(&mut token),
                },
            }
        }
        filter + &token
    }

    fn sample(&self) -> Result<Subject, SubjectError> {
        self.fill(None, |_| Some(Cow::Borrowed("x")))
    }

    /// The subject of an event with this tenant and these attributes.
    ///
    /// # Errors
    /// [`SubjectError`] for a tenant id that the policy refuses, for an attribute that is missing and has no default,
    /// and for a subject that gets longer than [`MAX_SUBJECT`](super::subject::MAX_SUBJECT).
    pub fn resolve<'v>(
        &self,
        tenant: Option<&str>,
        policy: TenantPolicy,
        attribute: impl Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<Subject, SubjectError> {
        if let Some(subject) = &self.fixed {
            return Ok(subject.clone());
        }
        let mut tenant = tenant.map(Cow::Borrowed);
        if let (true, Some(id)) = (self.has_tenant(), &mut tenant) {
            match policy {
                TenantPolicy::Encode if id.len() <= MAX_TENANT_ID => {
                    *id = Cow::Owned(encode_token(id).into_owned());
                }
                TenantPolicy::Encode | TenantPolicy::Refuse => check_tenant_id(id)?,
            }
        }
        self.fill(tenant.as_deref(), attribute)
    }

    /// `tenant` is one token.
    fn fill<'v>(
        &self,
        tenant: Option<&str>,
        attribute: impl Fn(&str) -> Option<Cow<'v, str>>,
    ) -> Result<Subject, SubjectError> {
        let mut text = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            let placeholder = match part {
                Part::Literal(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Part::Placeholder(placeholder) => placeholder,
            };
            let default = placeholder.default.as_deref();
            match &placeholder.value {
                Value::Tenant => {
                    text.push_str(tenant.unwrap_or(placeholder.tenant_default()));
                }
                Value::Token(name) => match (attribute(name), default) {
                    (Some(value), _) => text.push_str(&encode_token(&value)),
                    (None, Some(default)) => text.push_str(default),
                    (None, None) => return Err(missing(name)),
                },
                Value::Levels(name) => match (attribute(name), default) {
                    (Some(value), _) => {
                        for (index, level) in value.split('.').enumerate() {
                            if index > 0 {
                                text.push('.');
                            }
                            text.push_str(&encode_token(level));
                        }
                    }
                    (None, Some(default)) => text.push_str(default),
                    (None, None) => return Err(missing(name)),
                },
            }
        }
        Subject::new(text)
    }
}

fn missing(name: &str) -> SubjectError {
    SubjectError::MissingAttribute {
        name: name.to_owned(),
    }
}

fn parse(text: &str) -> Result<Vec<Part>, SubjectError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            let position = text.len() - rest.len() + open;
            return Err(SubjectError::UnclosedPlaceholder { position });
        };
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        parts.push(Part::Placeholder(placeholder(
            &rest[open + 1..open + length],
        )?));
        rest = &rest[open + length + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// `text` is the text between the braces.
fn placeholder(text: &str) -> Result<Placeholder, SubjectError> {
    let unknown = || SubjectError::UnknownPlaceholder {
        name: text.to_owned(),
    };
    let (value, default) = match text.split_once('|') {
        None => (text, None),
        Some((value, default)) => (value, Some(default.to_owned())),
    };
    let attribute = |name: &str| {
        let is_name = super::rules::check_name(name).is_ok() && name != "data";
        is_name.then(|| name.to_owned()).ok_or_else(unknown)
    };
    let value = match value.strip_suffix(":levels") {
        None if value == "tenantId" => Value::Tenant,
        None => Value::Token(attribute(value)?),
        Some(name) => Value::Levels(attribute(name)?),
    };
    if let Some(default) = &default {
        let takes_levels = matches!(value, Value::Levels(_));
        check_default(default, takes_levels).map_err(|reason| SubjectError::Default {
            placeholder: text.to_owned(),
            reason,
        })?;
    }
    Ok(Placeholder { value, default })
}

/// Returns the reason why a default can't fill its placeholder.
fn check_default(default: &str, takes_levels: bool) -> Result<(), String> {
    if default.is_empty() {
        return Err("it is empty".to_owned());
    }
    if default.contains('.') && !takes_levels {
        return Err(
            "it has a '.', and only a `:levels` placeholder becomes several tokens".to_owned(),
        );
    }
    match Subject::new(format!("x.{default}")) {
        Ok(_) => Ok(()),
        Err(SubjectError::Character {
            character, reason, ..
        }) => Err(format!("it has {character:?}: {reason}")),
        Err(SubjectError::EmptyToken { .. }) => Err("it has an empty token".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks the invariants of this module on the template's tokens.
fn check_tokens(parts: &[Part]) -> Result<(), SubjectError> {
    #[derive(Default)]
    struct Token {
        has_literal: bool,
        placeholders: usize,
        has_levels: bool,
    }
    let refuse = |reason| Err(SubjectError::Template { reason });
    let mut token = Token::default();
    let (mut is_first, mut levels) = (true, 0);
    for part in parts {
        match part {
            Part::Literal(literal) => {
                for (index, piece) in literal.split('.').enumerate() {
                    if index > 0 {
                        (token, is_first) = (Token::default(), false);
                    }
                    token.has_literal |= !piece.is_empty();
                }
            }
            Part::Placeholder(placeholder) => {
                let is_levels = matches!(placeholder.value, Value::Levels(_));
                token.placeholders += 1;
                token.has_levels |= is_levels;
                levels += usize::from(is_levels);
            }
        }
        if is_first && token.placeholders > 0 {
            return refuse(
                "must begin with a literal token, such as `events.`: an event must not choose the first one",
            );
        }
        if token.placeholders > 1 {
            return refuse("has two placeholders in one token; separate them by a '.'");
        }
        if token.has_levels && token.has_literal {
            return refuse(
                "has a `:levels` placeholder in one token with other text; separate them by a '.'",
            );
        }
        if levels > 1 {
            return refuse("has more than one `:levels` placeholder");
        }
    }
    Ok(())
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
