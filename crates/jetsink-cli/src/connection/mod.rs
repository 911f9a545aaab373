//! The connection's flags, and the environment and contexts of the `nats` command behind them.

pub(crate) mod login;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jetsink::{ConnectError, ConnectSettings, NatsPublisher, Publisher as _, StreamName};

use login::{Login, Rank};

/// How long a start waits for the first connection.
pub(crate) const FIRST_CONNECTION: Duration = Duration::from_secs(1);

/// The flags that the `nats` command has a variable for, by their ids.
const VARIABLES: [(&str, &str); 10] = [
    ("server", "NATS_URL"),
    ("context", "NATS_CONTEXT"),
    ("user", "NATS_USER"),
    ("password", "NATS_PASSWORD"),
    ("token", "NATS_TOKEN"),
    ("creds", "NATS_CREDS"),
    ("nkey", "NATS_NKEY"),
    ("tlscert", "NATS_CERT"),
    ("tlskey", "NATS_KEY"),
    ("tlsca", "NATS_CA"),
];

/// The variable of the `nats` command for one of the connection's flags.
pub(crate) fn variable(flag: &str) -> Option<&'static str> {
    let found = VARIABLES.iter().find(|(id, _)| *id == flag);
    found.map(|(_, variable)| *variable)
}

/// Replaces the login of each server: `nats://user:password@host` becomes `***@host`. Everything before
/// the last `@` may be part of a login.
#[cfg(unix)] // for drill and serve
pub(crate) fn without_login(servers: &str) -> String {
    let server = |server: &str| match server.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => server.to_owned(),
    };
    servers.split(',').map(server).collect::<Vec<_>>().join(",")
}

/// The broker's address and the login.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Servers, separated by commas [env: NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(short, long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Context of the `nats` command [env: NATS_CONTEXT] [default: without a server, the one that
    /// `nats context select` chose]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// User, or a token if there is no password [env: NATS_USER]
    #[arg(long)]
    pub(crate) user: Option<String>,

    /// Password; prefer the variable, since other users can see flags [env: NATS_PASSWORD]
    #[arg(long)]
    pub(crate) password: Option<String>,

    /// Token; prefer the variable [env: NATS_TOKEN]
    #[arg(long, conflicts_with = "user")]
    pub(crate) token: Option<String>,

    /// Credentials file (JWT and seed) [env: NATS_CREDS]
    #[arg(long, value_name = "FILE")]
    pub(crate) creds: Option<String>,

    /// File with an NKey seed [env: NATS_NKEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) nkey: Option<String>,

    /// Client certificate, PEM [env: NATS_CERT]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<String>,

    /// Client key, PEM [env: NATS_KEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<String>,

    /// Root certificates to trust, PEM [env: NATS_CA]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlsca: Option<String>,

    /// Start TLS before the server's greeting, for servers with `handshake_first`
    #[arg(long)]
    pub(crate) tlsfirst: bool,

    /// Connect only to the given servers, not to others of the cluster that the broker reports
    #[arg(long)]
    pub(crate) ignore_discovered: bool,

    /// Receive answers under this prefix instead of `_INBOX`
    #[arg(long, value_name = "PREFIX")]
    pub(crate) inbox_prefix: Option<String>,

    /// JetStream domain
    // The server has one rule for it and for the name of a stream.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) js_domain: Option<StreamName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// on a terminal
    Auto,
    /// also in a pipe
    Always,
    /// nowhere
    Never,
}

impl When {
    pub(crate) fn applies(self) -> bool {
        match self {
            Self::Auto => std::io::stderr().is_terminal(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Resolves the connection: flags first, then the environment and contexts of the `nats` command.
pub(crate) fn resolve_connection(
    connection: &Connection,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<ConnectSettings, ConnectError> {
    let flags = [
        ("context", &connection.context),
        ("user", &connection.user),
        ("password", &connection.password),
        ("token", &connection.token),
        ("creds", &connection.creds),
        ("nkey", &connection.nkey),
        ("tlscert", &connection.tlscert),
        ("tlskey", &connection.tlskey),
        ("tlsca", &connection.tlsca),
    ];
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let of_flag = |flag: &str| {
        let given = flags.iter().find(|(id, _)| *id == flag);
        given.and_then(|(_, value)| (*value).clone())
    };
    let login = Login::choose(|rank, flag| match rank {
        Rank::Flag => of_flag(flag).is_some(),
        Rank::Variable => variable(flag).and_then(environment).is_some(),
        Rank::File => false,
    });
    // A flag takes precedence over its variable.
    let given = |name: &str| match VARIABLES.iter().find(|(_, variable)| *variable == name) {
        None => environment(name),
        Some((flag, _)) => {
            of_flag(flag).or_else(|| environment(name).filter(|_| login.uses(Rank::Variable, flag)))
        }
    };
    let names_a_server = connection.server.is_some() || given("NATS_URL").is_some();
    let lookup = |name: &str| match given(name) {
        // As the `nats` command, but a context's login is only sent to the context's servers.
        None if name == "NATS_CONTEXT" && !names_a_server => {
            ConnectSettings::selected_context(given)
        }
        value => value,
    };
    let mut connect = ConnectSettings::from_environment(connection.server.as_deref(), lookup)?;
    if connection.tlsfirst {
        connect = connect.tls_first(true);
    }
    connect = connect.ignore_discovered_servers(connection.ignore_discovered);
    if let Some(prefix) = &connection.inbox_prefix {
        connect = connect.inbox_prefix(prefix)?;
    }
    if let Some(domain) = &connection.js_domain {
        connect = connect.jetstream_domain(domain.as_str())?;
    }
    Ok(connect)
}

/// Reads a variable of the environment; `None` if it is not set or not Unicode.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Waits briefly for the connection, so that a reachable broker is used from the first event on.
pub(crate) async fn wait_for_connection(publisher: &NatsPublisher) {
    if let Some(mut connection) = publisher.connection() {
        let up = connection.wait_for(|connection| connection.up);
        let _ = tokio::time::timeout(FIRST_CONNECTION, up).await;
    }
}

#[cfg(test)]
mod tests;
