//! Settings of the sink beyond those of `connect`.

use std::time::Duration;

use cellos_core::CellosError;
use jetsink::{
    ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolSettings, SubjectTemplate,
    TenantPolicy,
};

use crate::port::Port;
use crate::shared::{Engine, SharedBy};
use crate::sink::{JetStreamEventSink, failed};
use crate::spool_folder;

/// Settings of a [`JetStreamEventSink`]; made by [`JetStreamEventSink::builder`].
///
/// Defaults: a deadline of 2 s for one emit; tenant ids that are not a subject token are refused; no
/// spool. Servers, login, TLS, the expected stream and starting while the broker is down are settings of
/// the connection ([`ConnectSettings`]).
///
/// ```no_run
/// use std::time::Duration;
/// use cellos_sink_jetstream::{ConnectSettings, JetStreamEventSink, TenantPolicy};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = ConnectSettings::new("nats://10.0.0.1,nats://10.0.0.2")?
///     .credentials_file("/etc/cellos/supervisor.creds")
///     .expected_stream("CELLOS_EVENTS")?
///     .start_disconnected(true);
/// let sink = JetStreamEventSink::builder(broker, "cellos.events.{tenantId}")
///     .deadline(Duration::from_millis(500))
///     .tenant_policy(TenantPolicy::Encode)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct JetStreamEventSinkBuilder {
    connect: ConnectSettings,
    subject: String,
    deadline: Option<Duration>,
    tenant_policy: TenantPolicy,
    spool: Option<SpoolSettings>,
    shared_by: Option<SharedBy>,
}

impl JetStreamEventSinkBuilder {
    pub(crate) fn new(connect: ConnectSettings, subject: String) -> Self {
        Self {
            connect,
            subject,
            deadline: None,
            tenant_policy: TenantPolicy::default(),
            spool: None,
            shared_by: None,
        }
    }

    /// Sets the time limit of one emit, from 1 ms to 1 hour; [`connect`](Self::connect) refuses others.
    /// Default: 2 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the handling of tenant ids that are not a subject token: by default they are refused.
    pub fn tenant_policy(mut self, policy: TenantPolicy) -> Self {
        self.tenant_policy = policy;
        self
    }

    /// Keeps events that can't be sent now in a spool on the local disk: `emit` then returns `Ok` when the
    /// event is synced there, and the sink sends it when the broker accepts it. The folder can't be that of CellOS's own
    /// audit trail.
    pub fn spool(mut self, settings: SpoolSettings) -> Self {
        self.spool = Some(settings);
        self
    }

    /// A spool that all sinks with the same `shared_by` write to, in this process.
    pub(crate) fn shared_spool(mut self, shared_by: SharedBy) -> Self {
        self.spool = Some(SpoolSettings::new(&shared_by.spool));
        self.shared_by = Some(shared_by);
        self
    }

    /// Connects. With a spool the connection is made in the background, so a service starts without a broker.
    /// Dropping the future cancels the attempt.
    ///
    /// # Errors
    /// `CellosError::EventSink` for an invalid subject template or deadline, for a spool that can't be
    /// opened or is in the folder of CellOS's audit trail (`CELLOS_SPOOL_DIR` names it, or `audit-trail.jsonl` is in it), and, unless it may start disconnected, if no broker accepts the connection; the text then
    /// names `nats connect`.
    pub async fn connect(self) -> Result<JetStreamEventSink, CellosError> {
        let template = SubjectTemplate::new(self.subject).map_err(failed)?;
        let mut settings = SinkSettings::default();
        if let Some(deadline) = self.deadline {
            settings = settings.deadline(deadline).map_err(failed)?;
        }
        if let Some(spool) = &self.spool {
            spool_folder::check(spool.directory())?;
        }
        let open = open(self.connect, settings, self.spool);
        let engine = match self.shared_by {
            None => Engine::own(open.await?),
            Some(by) => Engine::shared(by, open).await?,
        };
        Ok(JetStreamEventSink::new(
            engine,
            Ok(template),
            self.tenant_policy,
        ))
    }
}

async fn open(
    connect: ConnectSettings,
    settings: SinkSettings,
    spool: Option<SpoolSettings>,
) -> Result<Sink<Port>, CellosError> {
    let connect = match &spool {
        None => connect,
        Some(_) => connect.start_disconnected(true),
    };
    let port = Port::Nats(NatsPublisher::connect(connect).await.map_err(failed)?);
    match spool {
        None => Ok(Sink::new(port, settings)),
        Some(spool) => Sink::with_spool(port, settings, spool)
            .await
            .map_err(failed),
    }
}
