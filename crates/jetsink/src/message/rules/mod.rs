//! The rules of CloudEvents 1.0.2 and its JSON format that one event's JSON can break. Pure.
//!
//! `docs/guide/cloudevents.md` traces each requirement of the specification to a rule and to its tests; a test keeps
//! that table complete.

mod base64;
mod media_type;
mod text;
mod timestamp;

pub(crate) use timestamp::is_timestamp;
mod uri;

pub(crate) use base64::is_base64;

/// How much of the specification an event has to meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// Every rule.
    #[default]
    Full,
    /// Only the rules without which an event cannot be routed or means two things at once
    /// ([`EventRule::is_always_enforced`]). Consumers in the wild accept events that break others.
    Lenient,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $rule:ident: $name:literal, $clause:expr;)+) => {
        /// A rule that an event's JSON can break.
        ///
        /// New rules may be added in any release.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum EventRule {
            $($(#[doc = $doc])+ $rule,)+
        }

        impl EventRule {
            /// Every rule, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// The rule's name, as metrics, `jetsink publish --json` and `docs/guide/cloudevents.md` have it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }

            /// The document and section that state the rule.
            #[must_use]
            pub fn clause(self) -> &'static str {
                match self {
                    $(Self::$rule => $clause,)+
                }
            }
        }
    };
}

const MAPPING: &str = "JSON event format 1.0.2, section 2.2";
const REQUIRED: &str = "CloudEvents 1.0.2, REQUIRED Attributes";
const OPTIONAL: &str = "CloudEvents 1.0.2, OPTIONAL Attributes";
const STRING: &str = "CloudEvents 1.0.2, Type System, String";

rules! {
    /// An event is one JSON object.
    NotAnObject: "object", "JSON event format 1.0.2, section 3";
    /// `id`, `source`, `specversion` and `type` are present.
    MissingAttribute: "missing-attribute", REQUIRED;
    /// `id`, `source`, `specversion` and `type` are JSON strings.
    RequiredType: "required-type", MAPPING;
    /// `id`, `source`, `specversion` and `type` have no unpaired surrogate.
    RequiredSurrogate: "required-surrogate", STRING;
    /// A member appears at most once.
    RepeatedAttribute: "repeated-attribute", "CloudEvents 1.0.2, Extension Context Attributes";
    /// `id`, `source`, `specversion` and `type` are not empty.
    RequiredEmpty: "required-empty", REQUIRED;
    /// `specversion` is `1.0`.
    SpecVersion: "specversion", REQUIRED;
    /// An attribute's name consists of lower-case ASCII letters and digits.
    AttributeName: "attribute-name", "CloudEvents 1.0.2, Attribute Naming Convention";
    /// An attribute's value is a string, a boolean or an integer; that of an attribute that the specification
    /// defines is a string.
    AttributeType: "attribute-type", MAPPING;
    /// A number has neither a fraction nor an exponent.
    IntegerForm: "integer-form", MAPPING;
    /// A number fits into 32 bits with its sign.
    IntegerRange: "integer-range", "CloudEvents 1.0.2, Type System, Integer";
    /// A string has no character of U+0000 to U+001F or U+007F to U+009F.
    ControlCharacter: "control-character", STRING;
    /// A string has no unpaired surrogate.
    Surrogate: "surrogate", STRING;
    /// A string has no code point that Unicode calls a noncharacter.
    Noncharacter: "noncharacter", STRING;
    /// `source` is a URI-reference (RFC 3986, section 4.1).
    Source: "source", REQUIRED;
    /// `time` is a date-time of RFC 3339.
    Time: "time", OPTIONAL;
    /// `datacontenttype` is a media type, with parameters or without (RFC 2046, in the syntax of RFC 2045).
    DataContentType: "datacontenttype", OPTIONAL;
    /// `dataschema` is an absolute URI (RFC 3986, section 4.3), which has no fragment.
    DataSchema: "dataschema", OPTIONAL;
    /// `subject` is not empty.
    SubjectEmpty: "subject-empty", OPTIONAL;
    /// `data_base64` is a string of padded Base64 (RFC 4648, section 4).
    DataBase64: "data-base64", "JSON event format 1.0.2, section 3.1.1";
    /// `data` and `data_base64` are not both present.
    DataTwice: "data-twice", "JSON event format 1.0.2, section 3.1.1";
}

impl EventRule {
    /// Whether [`Validation::Lenient`] enforces the rule, too.
    #[must_use]
    pub fn is_always_enforced(self) -> bool {
        match self {
            Self::NotAnObject
            | Self::MissingAttribute
            | Self::RequiredType
            | Self::RequiredSurrogate
            | Self::RepeatedAttribute => true,
            Self::RequiredEmpty
            | Self::SpecVersion
            | Self::AttributeName
            | Self::AttributeType
            | Self::IntegerForm
            | Self::IntegerRange
            | Self::ControlCharacter
            | Self::Surrogate
            | Self::Noncharacter
            | Self::Source
            | Self::Time
            | Self::DataContentType
            | Self::DataSchema
            | Self::SubjectEmpty
            | Self::DataBase64
            | Self::DataTwice => false,
        }
    }

    /// The message for a `member` that breaks the rule, with the clause. `value` is JSON; `None` leaves it out.
    pub(crate) fn broken_by(self, member: &str, value: Option<&str>) -> String {
        let name = text::Quoted(member);
        let demand = match self {
            Self::NotAnObject => "a CloudEvent is one JSON object".to_owned(),
            Self::MissingAttribute => format!("required attribute {name} is missing"),
            Self::RepeatedAttribute => format!("{name} appears twice"),
            Self::AttributeName => {
                format!("attribute name {name} must be lower-case letters and digits")
            }
            Self::RequiredType => format!("attribute {name} must be a string"),
            Self::AttributeType if is_defined(member) => {
                format!("attribute {name} must be a string")
            }
            Self::AttributeType => {
                format!("attribute {name} must be a string, a boolean or an integer")
            }
            Self::IntegerForm => {
                format!("attribute {name} must be an integer without fraction or exponent")
            }
            Self::IntegerRange => {
                format!("attribute {name} must be an integer from -2147483648 to 2147483647")
            }
            Self::RequiredSurrogate | Self::Surrogate => {
                format!("attribute {name} must not contain an unpaired surrogate")
            }
            Self::ControlCharacter => {
                format!("attribute {name} must not contain control characters")
            }
            Self::Noncharacter => {
                format!("attribute {name} must not contain Unicode noncharacters")
            }
            Self::RequiredEmpty | Self::SubjectEmpty => {
                format!("attribute {name} must not be empty")
            }
            Self::SpecVersion => format!("attribute {name} must be \"1.0\""),
            Self::Source => format!("attribute {name} must be a URI-reference of RFC 3986"),
            Self::Time => format!("attribute {name} must be a timestamp of RFC 3339"),
            Self::DataContentType => {
                format!("attribute {name} must be a media type of RFC 2046, type/subtype")
            }
            Self::DataSchema => {
                format!(
                    "attribute {name} must be an absolute URI of RFC 3986, section 4.3, without a fragment"
                )
            }
            Self::DataBase64 => format!("{name} must be a string of padded Base64"),
            Self::DataTwice => "`data` and `data_base64` must not both be present".to_owned(),
        };
        let clause = self.clause();
        match value {
            None => format!("{demand} ({clause})"),
            Some(value) => format!("{demand}, not {} ({clause})", text::Json(value)),
        }
    }
}

/// Whether the specification defines the type of the attribute; extensions define their own.
fn is_defined(name: &str) -> bool {
    matches!(name, "time" | "subject" | "datacontenttype" | "dataschema")
}

/// A check of a text.
pub(crate) type Check = fn(&str) -> Result<(), EventRule>;

/// Checks an attribute's name.
pub(crate) fn check_name(name: &str) -> Result<(), EventRule> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(EventRule::AttributeName);
    }
    Ok(())
}

/// Checks the text of a required attribute other than `source` and `specversion`.
pub(crate) fn check_required(text: &str) -> Result<(), EventRule> {
    if text.is_empty() {
        return Err(EventRule::RequiredEmpty);
    }
    text::check_characters(text)
}

/// Checks `source`.
pub(crate) fn check_source(text: &str) -> Result<(), EventRule> {
    if text.is_empty() {
        return Err(EventRule::RequiredEmpty);
    }
    uri::is_reference(text)
        .then_some(())
        .ok_or(EventRule::Source)
}

/// Checks `specversion`.
pub(crate) fn check_specversion(text: &str) -> Result<(), EventRule> {
    (text == "1.0").then_some(()).ok_or(EventRule::SpecVersion)
}

/// Checks the text of any attribute that is not required.
pub(crate) fn check_text(name: &str, text: &str) -> Result<(), EventRule> {
    let (holds, rule) = match name {
        "time" => (timestamp::is_timestamp(text), EventRule::Time),
        "datacontenttype" => (media_type::is_media_type(text), EventRule::DataContentType),
        "dataschema" => (uri::is_absolute(text), EventRule::DataSchema),
        "subject" if text.is_empty() => (false, EventRule::SubjectEmpty),
        _ => return text::check_characters(text),
    };
    holds.then_some(()).ok_or(rule)
}

/// Checks that an attribute may have a value other than a string.
pub(crate) fn check_other_type(name: &str) -> Result<(), EventRule> {
    if is_defined(name) {
        return Err(EventRule::AttributeType);
    }
    Ok(())
}

/// Checks a number as it is written in JSON.
pub(crate) fn check_number(json: &str) -> Result<(), EventRule> {
    let digits = json.strip_prefix('-').unwrap_or(json);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EventRule::IntegerForm);
    }
    json.parse::<i32>()
        .map_or(Err(EventRule::IntegerRange), |_| Ok(()))
}

pub(crate) use text::{OneLine, Quoted};

#[cfg(test)]
#[path = "../../tests/message/rules.rs"]
mod tests;
