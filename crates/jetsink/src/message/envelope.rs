//! A message before it is published: a subject, headers, a payload, and the id that makes a retry harmless.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::content::push_trace;
use super::rules::{EventRule, Quoted};
use super::subject::Subject;

/// The error of a header that can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not a header name.
    #[error("header name {name} has a byte outside visible ASCII, or ':'")]
    Name {
        /// The name in backticks, cut off if it is long, its characters escaped if they are not printable.
        name: String,
    },
    /// `Nats-Msg-Id`: it would compete with the envelope's message id.
    #[error("the header {name} is the message id; set it by Envelope::with_message_id")]
    MessageId {
        /// The header's name in backticks, as it was written.
        name: String,
    },
    /// `Nats-Trace-Only`: the server traces such a message, and neither stores nor answers it.
    #[error("the header {name} keeps the server from storing the event; leave it out")]
    NotStored {
        /// The header's name in backticks, as it was written.
        name: String,
    },
    /// A value with a line break or another control character would end the header.
    #[error("the value of header {name} has a control character at byte {position}")]
    Value {
        /// The header's name in backticks, as above.
        name: String,
        /// The offset of the character, in bytes.
        position: usize,
    },
}

/// Checked headers, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Cow<'static, str>)>);

impl Headers {
    /// Adds a header.
    ///
    /// # Errors
    /// [`HeaderError`] for a name or value that would not survive the wire, and for `Nats-Msg-Id` and
    /// `Nats-Trace-Only` in any case of letters; nothing is added.
    pub fn push(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Result<(), HeaderError> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            let name = Quoted(&name).to_string();
            return Err(HeaderError::Name { name });
        }
        if name.eq_ignore_ascii_case("Nats-Msg-Id") {
            let name = Quoted(&name).to_string();
            return Err(HeaderError::MessageId { name });
        }
        if name.eq_ignore_ascii_case("Nats-Trace-Only") {
            let name = Quoted(&name).to_string();
            return Err(HeaderError::NotStored { name });
        }
        // Most values are visible ASCII; a byte is checked faster than a character.
        let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_plain && let Some(position) = value.find(char::is_control) {
            let name = Quoted(&name).to_string();
            return Err(HeaderError::Value { name, position });
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Adds a header whose name and value the caller has checked.
    pub(super) fn push_checked(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        self.0.push((Cow::Borrowed(name), value.into()));
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (&**n, &**v))
    }
}

pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const STRUCTURED: &str = "application/cloudevents+json";

/// The text as a header takes it: that of each structured event is not copied each time.
pub(crate) fn without_copy(text: &str) -> Cow<'static, str> {
    match text {
        CONTENT_TYPE => Cow::Borrowed(CONTENT_TYPE),
        STRUCTURED => Cow::Borrowed(STRUCTURED),
        other => Cow::Owned(other.to_owned()),
    }
}

/// An id for the stream's duplicate window (`Nats-Msg-Id`): visible ASCII and inner spaces.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`HeaderError`] where it is empty, has spaces at an end, or anything outside visible ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, HeaderError> {
        let text = text.into();
        let bad = text
            .bytes()
            .position(|b| !b.is_ascii_graphic() && b != b' ');
        let padded = text.is_empty() || text.trim() != text;
        match bad.or(padded.then_some(0)) {
            None => Ok(Self(text)),
            Some(position) => Err(HeaderError::Value {
                name: "`Nats-Msg-Id`".to_owned(),
                position,
            }),
        }
    }

    /// An id that the sink made of checked parts.
    pub(crate) fn minted(text: String) -> Self {
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One event, ready to send.
///
/// ```
/// use jetsink::{Envelope, Subject};
///
/// let envelope = Envelope::new(Subject::new("events.acme")?, "{}".into());
/// assert_eq!(envelope.message_id(), None, "the sink mints one when it sends");
/// # Ok::<(), jetsink::SubjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    subject: Subject,
    message_id: Option<MessageId>,
    headers: Headers,
    payload: Bytes,
    deviation: Option<EventRule>,
    /// Whether the sink minted its id in this process, for it alone.
    has_minted_id: bool,
    /// Milliseconds since the Unix epoch.
    expires_at: Option<u64>,
}

impl Envelope {
    /// An envelope without headers; the sink mints its message id.
    #[must_use]
    pub fn new(subject: Subject, payload: Bytes) -> Self {
        Self {
            subject,
            message_id: None,
            headers: Headers::default(),
            payload,
            deviation: None,
            has_minted_id: false,
            expires_at: None,
        }
    }

    /// With these headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// With the trace context of the request that carried the event, as the headers `traceparent` and `tracestate`. No
    /// effect if the envelope has a `traceparent`: that is the event's own, from the CloudEvents extension. Values that
    /// do not fit into headers are left out.
    #[must_use]
    pub fn with_trace_context(mut self, traceparent: &str, tracestate: Option<&str>) -> Self {
        let has_own = self.headers.iter().any(|(name, _)| name == TRACEPARENT);
        if !has_own {
            push_trace(&mut self.headers, Some(traceparent), tracestate);
        }
        self
    }

    /// With an id of the caller's: two envelopes with one id within the stream's duplicate window
    /// are stored once.
    #[must_use]
    pub fn with_message_id(mut self, id: MessageId) -> Self {
        self.message_id = Some(id);
        self.has_minted_id = false;
        self
    }

    pub(crate) fn with_minted_id(mut self, id: MessageId) -> Self {
        self.message_id = Some(id);
        self.has_minted_id = true;
        self
    }

    /// Whether no other event can have its id, unless the sink's state was copied. False for an event that was
    /// read from a spool.
    pub(crate) fn has_minted_id(&self) -> bool {
        self.has_minted_id
    }

    /// With a time at which the event expires, with a precision of milliseconds.
    ///
    /// The message gets the time that is left when it is sent as its time to live (`Nats-TTL`, in whole seconds,
    /// rounded up), and the stream deletes it then. A stream without `allow_msg_ttl` refuses it (code 10166). An event
    /// that expires before it is sent fails with [`PublishError::Expired`](crate::PublishError::Expired), or becomes a
    /// dead letter if it is in a spool.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use jetsink::{Envelope, Subject};
    ///
    /// let soon = SystemTime::now() + Duration::from_secs(60);
    /// let envelope = Envelope::new(Subject::new("events.acme")?, "{}".into()).with_expiry(soon);
    /// assert!(envelope.expires_at().is_some());
    /// # Ok::<(), jetsink::SubjectError>(())
    /// ```
    #[must_use]
    pub fn with_expiry(self, at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.with_expiry_millis(Some(millis))
    }

    pub(crate) fn with_expiry_millis(mut self, millis: Option<u64>) -> Self {
        self.expires_at = millis;
        self
    }

    /// The time at which the event expires, if it does.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_millis(self.expires_at?))
    }

    pub(crate) fn expiry_millis(&self) -> Option<u64> {
        self.expires_at
    }

    pub(crate) fn with_payload(mut self, payload: Bytes) -> Self {
        self.payload = payload;
        self
    }

    pub(crate) fn with_deviation(mut self, rule: Option<EventRule>) -> Self {
        self.deviation = rule;
        self
    }

    /// The first rule of CloudEvents that its event breaks although a [`Binding`](crate::Binding) read it leniently.
    /// A spool does not keep it.
    #[must_use]
    pub fn deviation(&self) -> Option<EventRule> {
        self.deviation
    }

    /// The subject to publish to.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Its id, once it has one.
    #[must_use]
    pub fn message_id(&self) -> Option<&MessageId> {
        self.message_id.as_ref()
    }

    /// Its headers, without the ones that the publisher adds.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Its payload. Cloning it is cheap.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_break_out_of_a_header_gets_in() {
        let mut headers = Headers::default();
        for (name, value) in [
            ("a", "x\r\ny"),
            ("a", "\0"),
            ("a", "\t"),
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("a\n", "x"),
            ("Nats-Msg-Id", "x"),
            ("nats-msg-id", "x"),
            ("Nats-Trace-Only", "true"),
        ] {
            assert!(headers.push(name, value).is_err(), "{name:?} {value:?}");
        }
        assert_eq!(headers.iter().count(), 0);
        headers.push("ce-id", "ü ok").unwrap();
        assert_eq!(headers.iter().next(), Some(("ce-id", "ü ok")));
    }

    #[test]
    fn a_message_id_is_visible_ascii() {
        for bad in ["", " a", "a ", "a\nb", "ü", "\u{7f}"] {
            assert!(MessageId::new(bad).is_err(), "{bad:?}");
        }
        let id = MessageId::new("a b").unwrap();
        assert_eq!(id.as_str(), "a b");
        assert_eq!(format!("{id} {id:?}"), r#"a b "a b""#);
    }
}
