//! Arguments of `jetsink serve`.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jetsink::StreamName;

use super::configuration::{Setting, Source};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::units::{parse_bytes, parse_duration, parse_spool_limit};

const EXAMPLES: &str = "\
Examples:
  jetsink serve --subject 'events.{tenantId}' --spool /var/lib/jetsink/spool
  jetsink serve --route /orders=shop.orders --route /users=shop.users
  jetsink serve --subject events.all --listen-unix /run/jetsink.sock --unix-mode 660
  jetsink serve token new --name ci --subject 'events.>' --file access.toml
  jetsink serve --subject events.all --listen 0.0.0.0:8443 --https-cert cert.pem \\
    --https-key key.pem --access access.toml
  jetsink serve --config gateway.toml --check

  curl -i http://127.0.0.1:8080/ -H 'content-type: application/cloudevents+json' \\
    -d '{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/shop\",\"type\":\"order.placed\"}'

Each setting is a flag, a variable, or a key of --config; a flag comes first, then
the variable, then the file. Variables separate several values by commas.

202 means that each event is stored, or, with --spool, synced to the local disk.
SIGTERM and Ctrl-C end it once requests in flight have their answers; SIGHUP reads
credentials and certificates again.

Exit codes:
  0    ended by a signal, each request was answered; --check found no problem
  1    ended, and requests were cut off after --stop-time
  2    wrong usage: a flag, a file, an address, a spool in use";

/// Arguments of `jetsink serve`.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Serve {
    #[command(subcommand)]
    pub(crate) command: Option<ServeCommand>,

    /// TOML file of settings; its keys are the flags' names
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check all settings, print each with its source, and end
    #[arg(long)]
    pub(crate) check: bool,

    /// The settings that have a value, for `--check` and for the place of a wrong one.
    #[arg(skip)]
    pub(crate) settings: Vec<Setting>,

    /// A text for each variable that looks like a setting and is none.
    #[arg(skip)]
    pub(crate) unknown_variables: Vec<String>,

    /// Subject for events that are posted to `/`, such as events.{tenantId}.{type:levels}
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) subject: Option<String>,

    /// Another path with its subject; can be repeated
    #[arg(long, value_name = "PATH=TEMPLATE")]
    pub(crate) route: Vec<String>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Stream that must store the events; publishing to another one fails
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<StreamName>,

    /// TCP address to listen on; can be repeated [default: 127.0.0.1:8080, unless there is another listener]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<SocketAddr>,

    /// Unix socket to listen on; can be repeated. Sockets of systemd are used as well
    #[arg(long, value_name = "PATH")]
    pub(crate) listen_unix: Vec<PathBuf>,

    /// Mode of the Unix sockets, octal
    #[arg(long, default_value = "600", value_name = "MODE", value_parser = parse_mode)]
    pub(crate) unix_mode: u32,

    /// Certificate chain for HTTPS on the TCP addresses, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) https_cert: Option<PathBuf>,

    /// Key of --https-cert, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) https_key: Option<PathBuf>,

    /// Authorities that issue client certificates, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) https_client_ca: Option<PathBuf>,

    /// File of credentials: tokens, certificates, users; without it every sender is accepted
    #[arg(long, value_name = "FILE")]
    pub(crate) access: Option<PathBuf>,

    /// Accept plain text off loopback, for example behind a proxy that ends TLS
    #[arg(long)]
    pub(crate) allow_plaintext: bool,

    /// Accept senders without a credential, also off loopback and beside --access
    #[arg(long)]
    pub(crate) allow_anonymous: bool,

    /// Accept this name in the Host header on loopback; can be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,

    /// Content mode of the stored messages
    #[arg(long, value_enum, default_value_t = Mode::AsReceived)]
    pub(crate) mode: Mode,

    /// Handling of a tenant id that is not a valid subject token
    #[arg(long, value_enum, default_value_t = Policy::Refuse)]
    pub(crate) tenant_policy: Policy,

    /// Maximum time from a read body to its answer; clients can shorten it
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) deadline: Duration,

    /// Folder of a spool: events that can't be sent now are kept there and delivered in order later
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,

    /// Maximum bytes of events and dead letters in the spool, such as 512MiB [default: 1 GiB, at most half of the
    /// free disk space]
    #[arg(long, value_name = "BYTES", value_parser = parse_spool_limit)]
    pub(crate) spool_limit: Option<u64>,

    /// Maximum age of events in the spool, such as 12h or 3d; older ones become dead letters
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) spool_max_age: Option<Duration>,

    /// Time to wait at the start for a process that still has the spool, an address or a socket
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) spool_wait: Duration,

    /// Serve /status, /status.json, /metrics, /healthz and /readyz at this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// Time between a failing /readyz and closed listeners, for load balancers to notice
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) drain_delay: Duration,

    /// Maximum time at the end for requests in flight, and again for the spool to empty
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) stop_time: Duration,

    #[command(flatten)]
    pub(crate) limits: Limits,

    /// Threads that serve requests [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Log one in N requests to standard error; accepted ones and others are counted apart
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) access_log: Option<u32>,

    /// Log to standard error: -v info, -vv debug, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Limits of requests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Bytes of a body, at least 64KiB
    #[arg(long, default_value = "1MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_body: u64,

    /// Bytes of a decompressed body
    #[arg(long, default_value = "4MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_decompressed: u64,

    /// Bytes of all bodies in flight
    #[arg(long, default_value = "64MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_bytes: u64,

    /// Events in a batch
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(crate) max_batch: usize,

    /// Requests in flight; one credential has at most half of the places
    #[arg(long, default_value_t = 1_024, value_name = "N")]
    pub(crate) max_requests: usize,

    /// Connections; fewer if the limit of open files has no room for them
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,

    /// Bytes of a request's headers, 8KiB to 1MiB
    #[arg(long, default_value = "32KiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_headers: u64,

    /// Time for a request's headers, and for an idle connection
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) header_time: Duration,

    /// Time for a body
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) body_time: Duration,

    /// Events whose identity is remembered, for 10 minutes; about 150 bytes each
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub(crate) identities: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServeCommand {
    /// Make tokens for senders
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a new token once, and add its hash to a file of credentials
    New(NewTokenArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NewTokenArguments {
    /// Name of the token in logs and answers
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,

    /// Pattern of allowed subjects, such as events.>; can be repeated
    #[arg(long, value_name = "PATTERN", required = true)]
    pub(crate) subject: Vec<String>,

    /// Allowed tenant; can be repeated [default: any]
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Vec<String>,

    /// File of credentials; made if it does not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// structured and batched events as JSON, binary ones with headers
    AsReceived,
    /// the event's JSON as payload
    Structured,
    /// attributes as ce-* headers, the data as payload
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// refuse the event
    Refuse,
    /// percent-encode the id
    Encode,
}

impl Serve {
    /// The error of a setting, with the place of its value.
    pub(crate) fn wrong(&self, key: &str, reason: &dyn Display) -> Failure {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let source = setting.map_or(&Source::Default, |setting| &setting.source);
        source.wrong(key, reason)
    }

    /// The value that was made of a setting, or its error with its place.
    pub(crate) fn valid<T, E: Display>(&self, key: &str, made: Result<T, E>) -> Result<T, Failure> {
        made.map_err(|error| self.wrong(key, &error))
    }

    /// The TCP addresses, with the default one if there is no other listener.
    pub(crate) fn addresses(&self, has_listener: bool) -> Vec<SocketAddr> {
        match self.listen.is_empty() && !has_listener {
            true => vec![([127, 0, 0, 1], 8080).into()],
            false => self.listen.clone(),
        }
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("{text:?} is no mode; write it like 600 or 660"))
}
