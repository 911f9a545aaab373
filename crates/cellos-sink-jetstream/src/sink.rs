//! The `EventSink`: turns an event into an envelope, emits it, and returns failures as `CellosError`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cellos_core::ports::EventSink;
use cellos_core::{CellosError, CloudEventV1};
use jetsink::CircuitState as State;
use jetsink::{
    ConnectSettings, EmitError, Envelope, Sink, SinkSettings, Subject, SubjectError,
    SubjectTemplate, TenantPolicy, structured_headers,
};
use tokio::time::Instant;

use crate::builder::JetStreamEventSinkBuilder;
use crate::port::{Port, Publisher};
use crate::shared::{Engine, SharedBy};
use crate::tenant::tenant;

/// Publishes events to JetStream, behind a circuit breaker. A process needs one; `emit` takes `&self`.
///
/// `emit` returns `Ok` when a stream has acknowledged the event, or, with a spool, when it is synced to the local
/// disk; never earlier. So there is nothing to flush before the process ends. It takes no longer than its deadline
/// (2 s by default). Dropping its future cancels the wait: the event may be stored or not.
///
/// # Errors of `emit`
/// `CellosError::EventSink`, whose text is one line without credentials. Displayed, it begins with cellos-core's own
/// `event sink: `, followed by one of these:
///
/// | after `event sink: ` | the event is stored | action |
/// | --- | --- | --- |
/// | `not sent: the broker's circuit is open` | no | keep it, or drop it; returned at once, nothing was tried |
/// | `not sent: tenant id has …` | no | fix the event; other events are not affected |
/// | `not sent: …` | no | keep it, or drop it |
/// | `refused by the broker: …` | no | fix the cause that the text names: a stream, its limits, a permission |
/// | `outcome unknown: …` | perhaps | emit it again only if a duplicate is harmless |
///
/// ```no_run
/// use cellos_core::ports::EventSink;
/// use cellos_sink_jetstream::JetStreamEventSink;
///
/// # async fn example(event: cellos_core::CloudEventV1) -> Result<(), cellos_core::CellosError> {
/// let sink = JetStreamEventSink::connect("nats://127.0.0.1:4222", "cellos.events.{tenantId}").await?;
/// if let Err(error) = sink.emit(&event).await {
///     eprintln!("{error}"); // and the cell continues
/// }
/// # Ok(())
/// # }
/// ```
///
/// `examples/supervisor.rs` is a complete loop that keeps unreported events in a file.
pub struct JetStreamEventSink {
    sink: Engine,
    /// An error of the template if the constructor could not return it.
    template: Result<SubjectTemplate, SubjectError>,
    tenant_policy: TenantPolicy,
}

/// The circuit, as tests see it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconnectState {
    /// The last publish succeeded.
    Connected,
    /// The last publish failed.
    Reconnecting {
        /// Failed probes since the circuit opened.
        attempt: u32,
        /// When the next probe is due.
        next_after: Instant,
    },
}

impl JetStreamEventSink {
    /// Connects to `nats_url` (one, or several separated by commas) and publishes to `subject`, in which
    /// `{tenantId}` is replaced by the event's tenant. Login and TLS come from the variables of the
    /// `nats` command. If `CELLOS_JETSTREAM_SPOOL_DIR` names a folder, events that can't be sent
    /// now are kept in a spool there, and this succeeds without a broker; the sinks of a
    /// process with the same folder and servers share that spool. `CELLOS_SPOOL_DIR` names the folder of
    /// CellOS's own audit trail, and must be another one.
    ///
    /// # Errors
    /// `CellosError::EventSink`: no broker accepted the connection within the connect timeout of 5 s per
    /// server, an invalid URL, an invalid subject, a spool in the folder of the audit trail. The text names `nats connect` and contains no credentials.
    pub async fn connect(nats_url: &str, subject: impl Into<String>) -> Result<Self, CellosError> {
        Self::connect_with_root_ca(nats_url, subject, None).await
    }

    /// Connects as [`connect`](Self::connect) does, and trusts the root certificates in a PEM file; without
    /// one, those in the file that `NATS_CA` names, else the system's.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and if the file can't be read.
    pub async fn connect_with_root_ca(
        nats_url: &str,
        subject: impl Into<String>,
        root_ca_pem_file: Option<&Path>,
    ) -> Result<Self, CellosError> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut settings =
            ConnectSettings::from_environment(Some(nats_url), variable).map_err(failed)?;
        if let Some(path) = root_ca_pem_file {
            settings = settings.root_certificates(path);
        }
        let mut builder = Self::builder(settings, subject);
        if let Some(folder) = variable(SPOOL_VARIABLE).filter(|folder| !folder.is_empty()) {
            builder = builder.shared_spool(SharedBy {
                spool: std::path::absolute(folder).map_err(failed)?,
                servers: nats_url.to_owned(),
                root_ca: root_ca_pem_file.map(Path::to_owned),
            });
        }
        builder.connect().await
    }

    /// Returns a builder for a sink with other settings. Reads no environment variable, unless `connect` comes from
    /// [`ConnectSettings::from_environment`]; with a spool, its folder is compared with `CELLOS_SPOOL_DIR`.
    pub fn builder(
        connect: ConnectSettings,
        subject: impl Into<String>,
    ) -> JetStreamEventSinkBuilder {
        JetStreamEventSinkBuilder::new(connect, subject.into())
    }

    /// For tests: a sink over a script. An invalid template fails each emit.
    #[doc(hidden)]
    pub fn from_publisher(publisher: Arc<dyn Publisher>, subject: impl Into<String>) -> Self {
        let sink = Sink::new(Port::Scripted(publisher), SinkSettings::default());
        let template = SubjectTemplate::new(subject);
        Self::new(Engine::own(sink), template, TenantPolicy::default())
    }

    /// For tests: the circuit at this moment.
    #[doc(hidden)]
    #[allow(clippy::unused_async)] // the published crate's signature
    pub async fn debug_state(&self) -> ReconnectState {
        match self.sink.state() {
            State::Connected => ReconnectState::Connected,
            State::Reconnecting {
                attempt,
                next_after,
                ..
            } => ReconnectState::Reconnecting {
                attempt,
                next_after,
            },
        }
    }

    pub(crate) fn new(
        sink: Engine,
        template: Result<SubjectTemplate, SubjectError>,
        tenant_policy: TenantPolicy,
    ) -> Self {
        Self {
            sink,
            template,
            tenant_policy,
        }
    }

    async fn publish(&self, event: &CloudEventV1, subject: Subject) -> Result<(), CellosError> {
        let envelope = envelope(event, subject)?;
        self.sink.emit(envelope).await.map(drop).map_err(failed)
    }

    fn subject(&self, event: &CloudEventV1) -> Result<Subject, CellosError> {
        let template = self.template.as_ref().map_err(failed)?;
        template
            .resolve(tenant(event), self.tenant_policy, |name| {
                attribute(event, name).map(Cow::Borrowed)
            })
            .map_err(|error| of_event(event, &error))
    }
}

/// The value of an attribute, for a subject template.
fn attribute<'e>(event: &'e CloudEventV1, name: &str) -> Option<&'e str> {
    match name {
        "specversion" => Some(&event.specversion),
        "id" => Some(&event.id),
        "source" => Some(&event.source),
        "type" => Some(&event.ty),
        "datacontenttype" => event.datacontenttype.as_deref(),
        "time" => event.time.as_deref(),
        "traceparent" => event.traceparent.as_deref(),
        _ => None,
    }
}

fn envelope(event: &CloudEventV1, subject: Subject) -> Result<Envelope, CellosError> {
    // A signature covers exactly these bytes.
    let payload = serde_json::to_vec(event).map_err(|error| of_event(event, &error))?;
    let headers = structured_headers(event.traceparent.as_deref(), None);
    Ok(Envelope::new(subject, payload.into()).with_headers(headers))
}

#[async_trait]
impl EventSink for JetStreamEventSink {
    async fn emit(&self, event: &CloudEventV1) -> Result<(), CellosError> {
        // First, because an invalid subject is the event's fault even while the circuit is open.
        let subject = self.subject(event)?;
        if let Some(rejection) = self.sink.reject_early() {
            return Err(rejected(&rejection));
        }
        // Boxed, so that the trait's box for each call stays small if the event is rejected.
        Box::pin(self.publish(event, subject)).await
    }

    /// Returns when all events that were emitted before it are stored or reported: at most one
    /// deadline later.
    #[cfg(event_sink_flush)]
    async fn flush(&self) -> Result<(), CellosError> {
        self.sink.flush().await;
        Ok(())
    }
}

impl fmt::Debug for JetStreamEventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamEventSink")
            .field("sink", &self.sink)
            .field("template", &self.template)
            .field("tenant_policy", &self.tenant_policy)
            .finish()
    }
}

/// One line, with control characters of a template or a script replaced.
pub(crate) fn failed(error: impl fmt::Display) -> CellosError {
    CellosError::EventSink(error.to_string().replace(char::is_control, " "))
}

/// The error of an open circuit: one allocation, because an outage produces millions. Its text is ours, and
/// needs no replacement of control characters.
fn rejected(rejection: &EmitError) -> CellosError {
    let mut text = String::with_capacity(MAX_REJECTION_LEN);
    // Writing to a String can't fail.
    let _ = write!(text, "{rejection}");
    CellosError::EventSink(text)
}

/// An error that the event itself causes: nothing was sent, and no other event is affected.
fn of_event(event: &CloudEventV1, error: &dyn fmt::Display) -> CellosError {
    // The text names the event and does not contain it.
    let id: String = event.id.chars().take(MAX_SHOWN_ID_LEN).collect();
    failed(format_args!("not sent: {error} [event id {id:?}]"))
}

/// Names the spool's folder: a supervisor has no other way to set one.
const SPOOL_VARIABLE: &str = "CELLOS_JETSTREAM_SPOOL_DIR";

/// The length of the longest text of a rejection.
const MAX_REJECTION_LEN: usize = 160;

const MAX_SHOWN_ID_LEN: usize = 64;
