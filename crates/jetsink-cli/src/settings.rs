//! The command line resolved: checked, and with the environment's part in it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use std::io::IsTerminal as _;

use jetsink::environment::selected_context;
use jetsink::streams::{StreamError, StreamSpecError};
use jetsink::{
    Binding, ConnectError, ConnectSettings, ContentMode, Known, MessageIdRule, PublishError,
    SettingsError, SinkSettings, SpoolError, SpoolSettings, SubjectError, SubjectTemplate,
    TenantPolicy,
};

use nats_local::NatsLocalError;

use crate::arguments::{Connection, IdRule, Mode, OnBadLine, Policy, Publish, When};
use crate::interrupt::Interrupt;

/// What ends the command before or while it publishes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("--subject: {0}")]
    Subject(#[from] SubjectError),
    #[error("--deadline: {0}")]
    Sink(#[from] SettingsError),
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{}: {source}", .path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("--rejected: {} is one of the files to publish", .0.display())]
    RejectedIsInput(PathBuf),
    #[error("--follow: {0}")]
    Follow(String),
    #[error("{place}: {reason}")]
    Toml { place: String, reason: String },
    #[error("{0}")]
    StreamSpec(#[from] StreamSpecError),
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("--metrics-listen {address}: {source}")]
    MetricsListen {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// What can't be done as it was asked for, and what to ask for.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Broker(#[from] NatsLocalError),
    #[error("ended at once; nothing was checked")]
    Interrupted(Interrupt),
    #[error("stream {stream}: {}", why_unread(.stream, .error))]
    Read { stream: String, error: PublishError },
    /// It was being read, and there is no time to wait until that is possible again.
    #[error("stream {stream}: {error}; not all of it was read")]
    BrokenOff { stream: String, error: PublishError },
    #[error("the runtime does not start: {0}")]
    Runtime(std::io::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Connect(ConnectError::Refused { .. }) => 3,
            Self::Stream(StreamError::Broker { error, .. }) if error.known() != Known::Refused => 3,
            Self::Read { error, .. } if error.known() != Known::Refused => 3,
            Self::Broker(_) | Self::BrokenOff { .. } => 3,
            Self::Interrupted(interrupt) => interrupt.exit_code(),
            Self::Runtime(_) | Self::Stream(_) => 1,
            Self::Subject(_)
            | Self::Sink(_)
            | Self::Connect(_)
            | Self::Spool(_)
            | Self::RejectedIsInput(_)
            | Self::Follow(_)
            | Self::Usage(_)
            | Self::Read { .. }
            | Self::MetricsListen { .. }
            | Self::Toml { .. }
            | Self::StreamSpec(_)
            | Self::File { .. } => 2,
        }
    }
}

/// An error of reading is told with what to do about it.
fn why_unread(stream: &str, error: &PublishError) -> String {
    match error {
        PublishError::PermissionDenied => format!(
            "this user may not read it; grant it to publish to the JetStream API's STREAM.INFO.{stream} \
             and CONSUMER.CREATE.{stream}, and to $JS.FC.>"
        ),
        PublishError::Refused(refusal) if refusal.code == NO_SUCH_STREAM => {
            format!("{error}; create it, or correct --stream")
        }
        error => error.to_string(),
    }
}

/// The server's code.
const NO_SUCH_STREAM: u64 = 10_059;

impl When {
    pub(crate) fn applies(self) -> bool {
        match self {
            Self::Auto => std::io::stderr().is_terminal(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) binding: Binding,
    pub(crate) connect: ConnectSettings,
    pub(crate) sink: SinkSettings,
    /// None to have it found.
    pub(crate) window: Option<NonZeroUsize>,
    pub(crate) max_outage: Duration,
    pub(crate) spool: Option<SpoolSettings>,
    pub(crate) max_failures: u64,
    pub(crate) stop_at_bad_line: bool,
    pub(crate) rejected: Option<PathBuf>,
    pub(crate) from_line: u64,
    pub(crate) follow: bool,
    pub(crate) position: Option<PathBuf>,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) show_progress: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) metrics_listen: Option<SocketAddr>,
}

impl Settings {
    pub(crate) fn resolve(
        arguments: Publish,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut connect =
            resolve_connection(&arguments.connection, environment)?.name("jetsink publish");
        if let Some(stream) = &arguments.stream {
            connect = connect.expected_stream(stream)?;
        }
        let binding = Binding::new(SubjectTemplate::new(arguments.subject)?)
            .message_id(match arguments.id {
                IdRule::Emit => MessageIdRule::PerEmit,
                IdRule::SourceId => MessageIdRule::SourceAndId,
                IdRule::Content => MessageIdRule::Content,
            })
            .mode(match arguments.mode {
                Mode::Structured => ContentMode::Structured,
                Mode::Binary => ContentMode::Binary,
            })
            .tenant_policy(match arguments.tenant_policy {
                Policy::Refuse => TenantPolicy::Refuse,
                Policy::Encode => TenantPolicy::Encode,
            });
        let show_progress = match arguments.progress {
            When::Auto if arguments.dry_run => false,
            when => when.applies(),
        };
        let spool = match arguments.spool {
            None => None,
            Some(directory) => {
                let spool = SpoolSettings::new(directory).limit_bytes(arguments.spool_limit)?;
                Some(match arguments.spool_max_age {
                    None => spool,
                    Some(age) => spool.max_age(age)?,
                })
            }
        };
        let mut files = arguments.files;
        if files.is_empty() {
            files.push(PathBuf::from("-"));
        }
        Ok(Self {
            files,
            binding,
            connect,
            sink: SinkSettings::default().deadline(arguments.deadline)?,
            window: arguments
                .window
                .and_then(|window| NonZeroUsize::new(window.into())),
            max_outage: arguments.max_outage,
            spool,
            max_failures: arguments.max_failures,
            stop_at_bad_line: arguments.on_bad_line == OnBadLine::Fail,
            rejected: arguments.rejected,
            from_line: arguments.from_line,
            follow: arguments.follow,
            position: arguments.position,
            dry_run: arguments.dry_run,
            json: arguments.json,
            show_progress,
            quiet: arguments.quiet,
            verbose: arguments.verbose,
            metrics_listen: arguments.metrics_listen,
        })
    }
}

/// The connection's flags, and behind them the environment and contexts of the `nats` command.
pub(crate) fn resolve_connection(
    connection: &Connection,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<ConnectSettings, ConnectError> {
    let flags = [
        ("NATS_CONTEXT", &connection.context),
        ("NATS_USER", &connection.user),
        ("NATS_PASSWORD", &connection.password),
        ("NATS_TOKEN", &connection.token),
        ("NATS_CREDS", &connection.creds),
        ("NATS_NKEY", &connection.nkey),
        ("NATS_CERT", &connection.tlscert),
        ("NATS_KEY", &connection.tlskey),
        ("NATS_CA", &connection.tlsca),
    ];
    // A flag answers before the environment.
    let given = |name: &str| {
        let flag = flags.iter().find(|(variable, _)| *variable == name);
        flag.and_then(|(_, value)| (*value).clone())
            .or_else(|| environment(name).filter(|value| !value.is_empty()))
    };
    let names_a_server = connection.server.is_some() || given("NATS_URL").is_some();
    let lookup = |name: &str| match given(name) {
        // As the `nats` command does; but its login never goes to a server that it doesn't name.
        None if name == "NATS_CONTEXT" && !names_a_server => selected_context(given),
        value => value,
    };
    let mut connect = ConnectSettings::from_environment(connection.server.as_deref(), lookup)?;
    if connection.tlsfirst {
        connect = connect.tls_first();
    }
    if let Some(prefix) = &connection.inbox_prefix {
        connect = connect.inbox_prefix(prefix);
    }
    if let Some(domain) = &connection.js_domain {
        connect = connect.jetstream_domain(domain)?;
    }
    Ok(connect)
}
