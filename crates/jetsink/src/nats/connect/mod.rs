//! Settings of the connection: servers, login, TLS, expected stream. They are checked here; errors and
//! `Debug` never contain a credential.
//!
//! `servers` parses the server URLs, `target` is one of them or of those that the broker reports, `options` makes the
//! client's options for a target, `tls` verifies reported servers, `error` and `jwt` have the reasons of a failed
//! connection, [`environment`] reads the variables and contexts of the `nats` command.

mod environment;
mod error;
mod jwt;
mod options;
mod servers;
mod target;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;

use crate::message::subject::Subject;
use crate::nats::stream_name::{StreamName, StreamNameError, check_name};
use crate::random::random_byte;
pub use error::{ConnectCause, ConnectError};
pub(crate) use servers::DEFAULT_SERVER;
use servers::parse_server;
pub(crate) use servers::reconnect_delay;
pub(crate) use target::Target;
use target::is_ip;

/// A longer one finds no silent failure. async-nats adds it to a clock.
const MAX_PING_INTERVAL: Duration = Duration::from_secs(86_400);

/// Longer is no use, and the client adds it to the clock.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(3_600);

#[derive(Clone, Default)]
enum Login {
    #[default]
    None,
    UserPassword(String, String),
    Token(String),
    NkeySeed(String),
    CredentialsFile(PathBuf),
}

/// The broker's address, login and TLS settings. If several logins are set, the last one counts.
///
/// Defaults: no login, the system's root certificates, a connect timeout of 5 s, a ping each 2 s
/// (see [`ping_interval`](Self::ping_interval)), no stream expected, the first
/// connection must succeed.
///
/// ```
/// use jetsink::ConnectSettings;
///
/// let settings = ConnectSettings::new("nats://app:secret@10.0.0.1,nats://10.0.0.2:4223")?
///     .expected_stream("CELLOS_EVENTS")?;
/// assert!(!format!("{settings:?}").contains("secret"));
/// # Ok::<(), jetsink::ConnectError>(())
/// ```
#[derive(Clone)]
pub struct ConnectSettings {
    servers: Vec<ServerAddr>,
    login: Login,
    root_certificates: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    tls_first: bool,
    inbox_prefix: Option<String>,
    name: String,
    connect_timeout: Duration,
    ping_interval: Duration,
    expected_stream: Option<StreamName>,
    jetstream_domain: Option<String>,
    start_disconnected: bool,
    ignore_discovered: bool,
}

/// The address of a server in [`ConnectSettings`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAddress {
    /// `nats`, `tls`, `ws` or `wss`.
    pub scheme: String,
    /// The host name or IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ConnectSettings {
    /// The server of [`from_environment`](Self::from_environment) if none is named.
    pub const DEFAULT_SERVER: &str = DEFAULT_SERVER;

    /// Settings for one server, or several separated by commas. A user and password, or a token, in
    /// the URLs is taken as login; it must be the same in all of them that have one.
    ///
    /// # Errors
    /// [`ConnectError::Server`] for a URL that can't be read, by its place in the list;
    /// [`ConnectError::Setting`] where the URLs hold different logins.
    pub fn new(servers: &str) -> Result<Self, ConnectError> {
        let mut settings = Self {
            servers: Vec::new(),
            login: Login::None,
            root_certificates: None,
            client_certificate: None,
            tls_first: false,
            inbox_prefix: None,
            name: "jetsink".to_owned(),
            connect_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(2),
            expected_stream: None,
            jetstream_domain: None,
            start_disconnected: false,
            ignore_discovered: false,
        };
        let mut logins = Vec::new();
        for (index, text) in servers.split(',').map(str::trim).enumerate() {
            let (server, login) = parse_server(text).map_err(|reason| ConnectError::Server {
                number: index + 1,
                reason,
            })?;
            settings.servers.push(server);
            logins.extend(login);
        }
        logins.dedup();
        match (logins.pop(), logins.is_empty()) {
            (None, _) => {}
            (Some((user, Some(password))), true) => {
                settings.login = Login::UserPassword(user, password);
            }
            (Some((token, None)), true) => settings.login = Login::Token(token),
            (Some(_), false) => {
                return Err(ConnectError::Setting {
                    what: "servers",
                    reason: "their URLs hold different logins; a sink has one".to_owned(),
                });
            }
        }
        Ok(settings)
    }

    /// Logs in by user and password.
    #[must_use]
    pub fn user_and_password(mut self, user: &str, password: &str) -> Self {
        self.login = Login::UserPassword(user.to_owned(), password.to_owned());
        self
    }

    /// Logs in by token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.login = Login::Token(token.to_owned());
        self
    }

    /// Logs in by NKey, given its seed (`SU…`), which is not checked before connecting.
    #[must_use]
    pub fn nkey_seed(mut self, seed: &str) -> Self {
        self.login = Login::NkeySeed(seed.trim().to_owned());
        self
    }

    /// Logs in by the JWT and seed of a credentials file, as `nsc generate creds` writes it. It is read
    /// again for each connection, so a new one is in use from the next connection on.
    #[must_use]
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.login = Login::CredentialsFile(path.into());
        self
    }

    /// Trusts the root certificates in this PEM file instead of the system's, and connects only with TLS.
    #[must_use]
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(path.into());
        self
    }

    /// Presents this certificate to the broker (mutual TLS), and connects only with TLS. Both files are PEM.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client_certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Sets whether to speak TLS from the first byte, for servers with `handshake_first`. Default: no.
    #[must_use]
    pub fn tls_first(mut self, first: bool) -> Self {
        self.tls_first = first;
        self
    }

    /// Receives answers under this prefix instead of `_INBOX`, for users who may subscribe only
    /// there.
    ///
    /// # Errors
    /// [`ConnectError::Setting`] for a text that is not a subject.
    pub fn inbox_prefix(mut self, prefix: &str) -> Result<Self, ConnectError> {
        let prefix = prefix.trim_end_matches('.');
        Subject::new(prefix).map_err(|error| ConnectError::Setting {
            what: "inbox prefix",
            reason: error.to_string(),
        })?;
        self.inbox_prefix = Some(prefix.to_owned());
        Ok(self)
    }

    /// The connection's name in the broker's monitoring. Default: `jetsink`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The time limit for connecting to one server. Default: 5 s.
    ///
    /// # Errors
    /// [`ConnectError::Setting`] for less than 1 ms and for more than an hour.
    pub fn connect_timeout(mut self, timeout: Duration) -> Result<Self, ConnectError> {
        if !(Duration::from_millis(1)..=MAX_CONNECT_TIMEOUT).contains(&timeout) {
            return Err(ConnectError::Setting {
                what: "connect timeout",
                reason: "it must be from 1 ms to 1 hour".to_owned(),
            });
        }
        self.connect_timeout = timeout;
        Ok(self)
    }

    /// The time between two pings; the third unanswered ping ends the connection. Default: 2 s, so a silent
    /// failure of the broker is noticed within about 6 s.
    ///
    /// # Errors
    /// [`ConnectError::Setting`] for zero and for more than a day.
    pub fn ping_interval(mut self, interval: Duration) -> Result<Self, ConnectError> {
        if interval.is_zero() || interval > MAX_PING_INTERVAL {
            return Err(ConnectError::Setting {
                what: "ping interval",
                reason: "it must be above zero and at most a day".to_owned(),
            });
        }
        self.ping_interval = interval;
        Ok(self)
    }

    /// Accepts acknowledgements of this stream only. The broker refuses a message that another stream would
    /// store.
    ///
    /// # Errors
    /// [`ConnectError::Setting`] for a text that is not a [`StreamName`](crate::StreamName).
    pub fn expected_stream(mut self, stream: &str) -> Result<Self, ConnectError> {
        let stream = stream
            .parse()
            .map_err(|error| bad_name("expected stream", error))?;
        self.expected_stream = Some(stream);
        Ok(self)
    }

    /// The JetStream domain for API requests (leaf nodes).
    ///
    /// # Errors
    /// [`ConnectError::Setting`] for a text that breaks the rule of a [`StreamName`](crate::StreamName).
    pub fn jetstream_domain(mut self, domain: &str) -> Result<Self, ConnectError> {
        check_name(domain).map_err(|error| bad_name("JetStream domain", error))?;
        self.jetstream_domain = Some(domain.to_owned());
        Ok(self)
    }

    /// Sets whether [`NatsPublisher::connect`](crate::NatsPublisher::connect) returns at once, connected or
    /// not, and connects in the background. Default: no.
    #[must_use]
    pub fn start_disconnected(mut self, at_once: bool) -> Self {
        self.start_disconnected = at_once;
        self
    }

    /// Sets whether to connect only to the servers of the settings. By default, the servers of the cluster that the broker
    /// reports are tried, too: set this if their addresses are not reachable from here.
    #[must_use]
    pub fn ignore_discovered_servers(mut self, ignore: bool) -> Self {
        self.ignore_discovered = ignore;
        self
    }

    pub(crate) fn ignores_discovered(&self) -> bool {
        self.ignore_discovered
    }

    /// Returns the addresses of the servers, in the order of the list.
    #[must_use]
    pub fn addresses(&self) -> Vec<ServerAddress> {
        let servers = self.servers.iter();
        servers
            .map(|server| ServerAddress {
                scheme: server.scheme().to_owned(),
                host: server.host().trim_matches(['[', ']']).to_owned(),
                port: server.port(),
            })
            .collect()
    }

    /// Whether [`tls_first`](Self::tls_first) is set.
    #[must_use]
    pub fn is_tls_first(&self) -> bool {
        self.tls_first
    }

    /// Returns all servers in random order, so that many clients spread over a cluster; `last` comes first.
    pub(crate) fn targets(
        &self,
        discovered: &[ServerAddr],
        last: Option<&ServerAddr>,
    ) -> Vec<Target> {
        let names: Vec<String> = self
            .servers
            .iter()
            .map(ServerAddr::host)
            .filter(|host| !is_ip(host))
            .map(str::to_owned)
            .collect();
        let listed = self.servers.iter().cloned().map(Target::listed);
        let new = discovered
            .iter()
            .filter(|server| !self.servers.contains(server))
            .map(|server| Target::verified_as(server.clone(), names.clone()));
        let mut targets: Vec<Target> = listed.chain(new).collect();
        let length = targets.len().max(1);
        targets.rotate_left(random_byte() as usize % length);
        // Stable: only the last one moves.
        targets.sort_by_key(|target| Some(&target.address) != last);
        targets
    }

    /// Parses a server address that the broker reports (`connect_urls`: host and port).
    pub(crate) fn discovered_server(&self, host_and_port: &str) -> Option<ServerAddr> {
        let scheme = self.servers.first()?.scheme();
        format!("{scheme}://{host_and_port}").parse().ok()
    }

    pub(crate) fn parse_address(&self, text: &str) -> Result<ServerAddr, ConnectError> {
        text.parse()
            .map_err(|error: std::io::Error| self.refused(ConnectCause::Other, error.to_string()))
    }

    pub(crate) fn starts_disconnected(&self) -> bool {
        self.start_disconnected
    }

    pub(crate) fn expected_stream_name(&self) -> Option<&str> {
        self.expected_stream.as_ref().map(StreamName::as_str)
    }

    /// `$JS.API.`, or the domain's.
    pub(crate) fn api_prefix(&self) -> String {
        match &self.jetstream_domain {
            None => "$JS.API.".to_owned(),
            Some(domain) => format!("$JS.{domain}.API."),
        }
    }

    /// The connect timeout of a server, and a little for looking up names.
    pub(crate) fn time_to_connect(&self) -> Duration {
        self.connect_timeout.saturating_add(Duration::from_secs(1))
    }

    /// The prefix of inboxes, without a dot at its end.
    pub(crate) fn inbox_prefix_text(&self) -> &str {
        self.inbox_prefix.as_deref().unwrap_or("_INBOX")
    }

    fn server_list(&self) -> String {
        let urls: Vec<&str> = self.servers.iter().map(ServerAddr::as_url_str).collect();
        urls.join(",")
    }
}

impl fmt::Debug for ConnectSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = match &self.login {
            Login::None => "none",
            Login::UserPassword(..) => "user and password",
            Login::Token(_) => "token",
            Login::NkeySeed(_) => "nkey",
            Login::CredentialsFile(_) => "credentials file",
        };
        f.debug_struct("ConnectSettings")
            .field("servers", &self.server_list())
            .field("login", &login)
            .field("root_certificates", &self.root_certificates)
            .field(
                "client_certificate",
                &self.client_certificate.as_ref().map(|(c, _)| c),
            )
            .field("expected_stream", &self.expected_stream)
            .field("start_disconnected", &self.start_disconnected)
            .finish_non_exhaustive()
    }
}

fn bad_name(what: &'static str, error: StreamNameError) -> ConnectError {
    ConnectError::Setting {
        what,
        reason: error.to_string(),
    }
}

#[cfg(test)]
#[path = "../../tests/connect.rs"]
mod tests;
