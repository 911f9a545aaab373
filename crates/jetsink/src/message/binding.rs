//! Event to envelope: subject, content mode, message id and expiry by one set of rules.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::content::{binary_headers, binary_payload, is_opaque};
use super::envelope::{Envelope, HeaderError, MessageId};
use super::event::{CloudEvent, EventError, UnreadableText};
use super::received::{BinaryEvent, BinaryEventError, EventTenant};
use super::routing::Routing;
use super::rules::{Quoted, Validation};
use super::subject::{Subject, SubjectError, TenantPolicy};
use super::template::SubjectTemplate;

/// How an event lies in a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentMode {
    /// The event's JSON, byte for byte, as payload (`content-type: application/cloudevents+json`).
    #[default]
    Structured,
    /// The attributes as `ce-*` headers, the data as payload.
    Binary,
}

/// Which events count as the same one for the stream's duplicate window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageIdRule {
    /// None but the retries of one emit: the sink mints `<sink>.<n>` for each.
    #[default]
    PerEmit,
    /// Events with the same subject, `source` and `id` (SHA-256). `source` and `id` are the identity that CloudEvents
    /// defines; the subject keeps an event of one tenant from suppressing another tenant's. Choose it for sources
    /// with unique ids: if a source has a constant id, only its first event is stored.
    SourceAndId,
    /// Events with the same subject and the same bytes (SHA-256).
    Content,
}

/// The error of an event that can't become an envelope. Nothing was sent, and a repeat fails again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// Not a CloudEvent.
    #[error("not a CloudEvent: {0}")]
    Event(EventError),
    /// Not a CloudEvent in binary mode.
    #[error("not a CloudEvent: {0}")]
    BinaryEvent(BinaryEventError),
    /// Its subject is invalid.
    #[error("the event has no valid subject: {0}; correct the event or the template")]
    Subject(SubjectError),
    /// The tenant, or an attribute that decides its subject or becomes a header, has no text.
    #[error("{0}; correct the event")]
    Unreadable(UnreadableText),
    /// Its `expirytime` is not a timestamp.
    #[error("attribute `expirytime` must be a timestamp of RFC 3339, not {0}; correct the event")]
    Expiry(String),
    /// It was read leniently, and binary mode has no place for it.
    #[error("binary mode cannot carry the event: {0}; send it in structured mode")]
    NotBinary(String),
    /// Its attributes can't be sent as headers.
    #[error("the event has no valid header: {0}")]
    Header(HeaderError),
}

impl From<EventError> for BindingError {
    fn from(error: EventError) -> Self {
        Self::Event(error)
    }
}

impl From<BinaryEventError> for BindingError {
    fn from(error: BinaryEventError) -> Self {
        Self::BinaryEvent(error)
    }
}

impl From<SubjectError> for BindingError {
    fn from(error: SubjectError) -> Self {
        Self::Subject(error)
    }
}

impl From<UnreadableText> for BindingError {
    fn from(error: UnreadableText) -> Self {
        Self::Unreadable(error)
    }
}

impl From<HeaderError> for BindingError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

/// Makes envelopes of events by one set of rules. The event's tenant is `data.tenantId` if that is a string, else
/// `data.correlation.tenantId` if that is one, else `single`.
///
/// Every event is validated by CloudEvents 1.0.2 and its JSON format, unless [`validation`](Self::validation) says
/// otherwise.
///
/// ```
/// use jetsink::{Binding, SubjectTemplate};
///
/// let binding = Binding::new("cellos.events.{tenantId}".parse()?);
/// let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"tenantId":"acme"}}"#;
/// let envelope = binding.envelope(json.as_slice().into())?;
/// assert_eq!(envelope.subject().as_str(), "cellos.events.acme");
/// assert_eq!(&envelope.payload()[..], json);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Binding {
    template: SubjectTemplate,
    tenant_policy: TenantPolicy,
    mode: ContentMode,
    message_id: MessageIdRule,
    validation: Validation,
    reads_expiry: bool,
}

impl Binding {
    /// Defaults: full validation, tenant ids that are no token are refused, structured mode, an id per emit.
    #[must_use]
    pub fn new(template: SubjectTemplate) -> Self {
        Self {
            template,
            tenant_policy: TenantPolicy::default(),
            mode: ContentMode::default(),
            message_id: MessageIdRule::default(),
            validation: Validation::default(),
            reads_expiry: false,
        }
    }

    /// How much of the specification an event has to meet. Default: all of it.
    ///
    /// [`Envelope::deviation`] tells a leniently read event that breaks a rule from a valid one; a sink counts them
    /// by the metric `jetsink_lenient_events_total`.
    #[must_use]
    pub fn validation(mut self, validation: Validation) -> Self {
        self.validation = validation;
        self
    }

    /// The treatment of tenant ids that are not subject tokens. Default: refuse.
    #[must_use]
    pub fn tenant_policy(mut self, policy: TenantPolicy) -> Self {
        self.tenant_policy = policy;
        self
    }

    /// Structured or binary. Default: structured.
    #[must_use]
    pub fn mode(mut self, mode: ContentMode) -> Self {
        self.mode = mode;
        self
    }

    /// Which events count as the same one. Default: none but the retries of one emit.
    #[must_use]
    pub fn message_id(mut self, rule: MessageIdRule) -> Self {
        self.message_id = rule;
        self
    }

    /// Whether an event expires at the time in its extension attribute `expirytime`; see
    /// [`Envelope::with_expiry`]. Default: no. An event without the attribute does not expire; one whose attribute is not
    /// a timestamp of RFC 3339 is refused with [`BindingError::Expiry`].
    ///
    /// ```
    /// use jetsink::Binding;
    ///
    /// let binding = Binding::new("events".parse()?).reads_expirytime(true);
    /// let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","expirytime":"2040-01-01T00:00:00Z"}"#;
    /// assert!(binding.envelope(json.into())?.expires_at().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reads_expirytime(mut self, reads: bool) -> Self {
        self.reads_expiry = reads;
        self
    }

    /// Checks the JSON of one event and makes its envelope.
    ///
    /// Costs one reading of the JSON; in structured mode the payload is `json` itself, not a copy.
    ///
    /// # Errors
    /// [`BindingError`]: not a valid CloudEvent, no valid subject (a tenant id that is refused, for example), or, in
    /// binary mode, no valid headers. Nothing was sent, and the same event always returns the same error.
    pub fn envelope(&self, json: Bytes) -> Result<Envelope, BindingError> {
        self.envelope_expiring(json, self.template.has_tenant(), |tenant| tenant.named())
    }

    /// As [`envelope`](Self::envelope), but `choose` decides the tenant: it gets the one that the event names, and
    /// returns the one that fills `{tenantId}`; `None` means `single`. It is also called if the template has no
    /// `{tenantId}`, so that a caller can check the tenant.
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use jetsink::{Binding, EventTenant};
    ///
    /// let binding = Binding::new("shop.{tenantId}".parse()?);
    /// let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    /// let envelope = binding.envelope_with_tenant(json.into(), |tenant| match tenant {
    ///     EventTenant::Named(name) => Some(name),
    ///     EventTenant::Absent | EventTenant::Unreadable => Some(Cow::Borrowed("acme")),
    /// })?;
    /// assert_eq!(envelope.subject().as_str(), "shop.acme");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`envelope`](Self::envelope).
    pub fn envelope_with_tenant(
        &self,
        json: Bytes,
        choose: impl for<'t> FnOnce(EventTenant<'t>) -> Option<Cow<'t, str>>,
    ) -> Result<Envelope, BindingError> {
        self.envelope_expiring(json, true, choose)
    }

    /// Makes the envelope of an event that was received in binary mode. In [`ContentMode::Binary`] attributes and data
    /// stay as they are; in [`ContentMode::Structured`] the payload is the event's JSON, as by
    /// [`event_json`](crate::event_json). `choose` decides the tenant, as for
    /// [`envelope_with_tenant`](Self::envelope_with_tenant).
    ///
    /// # Errors
    /// [`BindingError`]: no valid subject, no valid headers, or an unreadable tenant. Nothing was sent.
    pub fn binary_envelope(
        &self,
        event: &BinaryEvent,
        choose: impl for<'t> FnOnce(EventTenant<'t>) -> Option<Cow<'t, str>>,
    ) -> Result<Envelope, BindingError> {
        let routing = event.routing(self.template.attributes())?;
        let headers = event.headers(&routing)?;
        let json = || super::export::json_of_binary(&headers, event.data());
        let needs_json =
            self.mode == ContentMode::Structured || self.message_id == MessageIdRule::Content;
        let json = if needs_json { json()? } else { Bytes::new() };
        let (subject, message_id) = self.address(&routing, &json, choose)?;
        let (headers, payload) = match self.mode {
            ContentMode::Structured => (routing.structured_headers(), json),
            ContentMode::Binary => (headers, event.data().clone()),
        };
        let expiry = match event.attribute(EXPIRYTIME) {
            Some(text) if self.reads_expiry => Some(expiry_of(text)?),
            _ => None,
        };
        let envelope = with_id(Envelope::new(subject, payload), message_id).with_headers(headers);
        Ok(envelope.with_expiry_millis(expiry))
    }

    fn envelope_expiring(
        &self,
        json: Bytes,
        reads_tenant: bool,
        choose: impl for<'t> FnOnce(EventTenant<'t>) -> Option<Cow<'t, str>>,
    ) -> Result<Envelope, BindingError> {
        if !self.reads_expiry {
            return self.envelope_of(json, reads_tenant, choose);
        }
        let event = CloudEvent::from_json_with(&json, self.validation)?;
        let expiry = event.attribute(EXPIRYTIME)?.as_deref().map(expiry_of);
        let expiry = expiry.transpose()?;
        let envelope = self.envelope_of(json, reads_tenant, choose)?;
        Ok(envelope.with_expiry_millis(expiry))
    }

    fn envelope_of(
        &self,
        json: Bytes,
        reads_tenant: bool,
        choose: impl for<'t> FnOnce(EventTenant<'t>) -> Option<Cow<'t, str>>,
    ) -> Result<Envelope, BindingError> {
        if self.mode == ContentMode::Structured
            && let Some(routing) = Routing::read(&json, self.template.attributes())
        {
            let headers = routing.structured_headers();
            let (subject, message_id) = self.address(&routing, &json, choose)?;
            return Ok(with_id(Envelope::new(subject, json), message_id).with_headers(headers));
        }
        let event = CloudEvent::from_json_with(&json, self.validation)?;
        let deviation = event.deviation().and_then(|error| error.rule);
        let routing = self.routing(&event, reads_tenant)?;
        let (subject, message_id) = self.address(&routing, &json, choose)?;
        let (headers, payload) = match self.mode {
            ContentMode::Structured => (routing.structured_headers(), json.clone()),
            ContentMode::Binary => (binary_headers(&event, &routing)?, binary_payload(&event)?),
        };
        let envelope = with_id(Envelope::new(subject, payload), message_id).with_headers(headers);
        Ok(envelope.with_deviation(deviation))
    }

    /// The parts of an event that the quick reader returns.
    fn routing<'e>(
        &self,
        event: &'e CloudEvent<'_>,
        reads_tenant: bool,
    ) -> Result<Routing<'e>, UnreadableText> {
        let tenant = if reads_tenant { event.tenant()? } else { None };
        let others = self.template.attributes().iter();
        Ok(Routing {
            specversion: event.specversion().into(),
            id: event.id().into(),
            source: event.source().into(),
            event_type: event.event_type().into(),
            traceparent: event.traceparent(),
            tracestate: event.tracestate(),
            tenant: tenant.map(Cow::Owned),
            is_opaque: is_opaque(event),
            others: others
                .map(|name| event.attribute(name))
                .collect::<Result<_, _>>()?,
        })
    }

    fn address(
        &self,
        event: &Routing<'_>,
        json: &[u8],
        choose: impl for<'t> FnOnce(EventTenant<'t>) -> Option<Cow<'t, str>>,
    ) -> Result<(Subject, Option<MessageId>), BindingError> {
        let attribute = |name: &str| match name {
            "specversion" => Some(Cow::Borrowed(&*event.specversion)),
            "id" => Some(Cow::Borrowed(&*event.id)),
            "source" => Some(Cow::Borrowed(&*event.source)),
            "type" => Some(Cow::Borrowed(&*event.event_type)),
            other => {
                let place = self.template.attributes().iter().position(|n| n == other)?;
                event.others[place].as_deref().map(Cow::Borrowed)
            }
        };
        let tenant = choose(match &event.tenant {
            Some(tenant) => EventTenant::Named(Cow::Borrowed(tenant)),
            None if event.is_opaque => EventTenant::Unreadable,
            None => EventTenant::Absent,
        });
        let subject = self
            .template
            .resolve(tenant.as_deref(), self.tenant_policy, attribute)?;
        let message_id = match self.message_id {
            MessageIdRule::PerEmit => None,
            MessageIdRule::SourceAndId => Some(identity(&subject, &event.source, &event.id)?),
            MessageIdRule::Content => Some(content_id(&subject, json)?),
        };
        Ok((subject, message_id))
    }
}

/// The extension attribute of CloudEvents for the time after which an event is useless.
const EXPIRYTIME: &str = "expirytime";

/// The time in milliseconds since the Unix epoch.
fn expiry_of(text: &str) -> Result<u64, BindingError> {
    let refused = || BindingError::Expiry(Quoted(text).to_string());
    if !super::rules::is_timestamp(text) {
        return Err(refused());
    }
    let time: jiff::Timestamp = text.to_ascii_uppercase().parse().map_err(|_| refused())?;
    // A time before 1970 has passed.
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

fn with_id(envelope: Envelope, message_id: Option<MessageId>) -> Envelope {
    match message_id {
        None => envelope,
        Some(id) => envelope.with_message_id(id),
    }
}

/// A hash of subject, `source` and `id`. Each is preceded by its length, so that no two of them run into each other.
fn identity(subject: &Subject, source: &str, id: &str) -> Result<MessageId, HeaderError> {
    let mut digest = Sha256::new();
    for part in [subject.as_str(), source, id] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    MessageId::new(URL_SAFE_NO_PAD.encode(digest.finalize()))
}

fn content_id(subject: &Subject, json: &[u8]) -> Result<MessageId, HeaderError> {
    let digest = Sha256::new()
        .chain_update(subject.as_str())
        .chain_update([0])
        .chain_update(json)
        .finalize();
    MessageId::new(URL_SAFE_NO_PAD.encode(digest))
}

#[cfg(test)]
#[path = "../tests/message/binding.rs"]
mod tests;
