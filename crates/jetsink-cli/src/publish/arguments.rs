//! Arguments of `jetsink publish`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::connection::{Connection, When};
use crate::units::{parse_bytes, parse_duration};

const EXAMPLES: &str = "\
Examples:
  jetsink publish --subject 'cellos.events.{tenantId}' events.jsonl
  jetsink publish --subject events.all --follow --position pos --spool spool events.jsonl
  zcat old.jsonl.gz | jetsink publish --subject events.all
  jetsink publish --subject 'events.{type}' --creds app.creds -s nats://n1,nats://n2 *.jsonl
  jetsink publish --subject events.all --dry-run events.jsonl
  jetsink publish --subject events.all --on-bad-line skip --rejected bad.jsonl in.jsonl

Lines are published as they stand, without their line end (LF or CRLF). Empty
ones are skipped, and so is a byte order mark at a file's start. Ctrl-C stops
reading, finishes what is in flight and says where to resume; a second one
ends at once.

Exit codes:
  0    every event is stored
  1    some are not: bad lines, refused events
  2    wrong usage: a flag, a file, a URL, a template; nothing was published
  3    the broker can't be reached, or went away for longer than --max-outage
  4    with --spool: every event is stored or in the spool, and some are there
       still
  130  interrupted (Ctrl-C); 143 by SIGTERM; with --follow 0, if what was read
       is stored";

/// Flags of `jetsink publish`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// Files of JSON lines; `-` or none reads standard input
    pub(crate) files: Vec<PathBuf>,

    /// Subject to publish to, with {tenantId}, {type} and {source} each filled in as one token
    #[arg(long, env = "JETSINK_SUBJECT", value_name = "TEMPLATE")]
    pub(crate) subject: String,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Stream that must store the events; others are refused
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,

    /// Events in flight, 1 to 16384; 1 keeps order even past a stream's momentary refusal [default: as
    /// many as have nearly the best rate, 4096 at the most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub(crate) window: Option<u16>,

    /// Longest that one try of one event may take
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) deadline: Duration,

    /// Folder of a spool: what can't be sent now is kept there, and delivered in order when the
    /// broker takes it, by this run or the next one with the same folder
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,

    /// Most bytes of events in the spool, such as 512MiB; past it, what can't be sent is not stored
    #[arg(long, default_value = "1GiB", value_name = "BYTES", value_parser = parse_bytes, requires = "spool")]
    pub(crate) spool_limit: u64,

    /// Longest that an event waits in the spool, such as 12h or 3d; then it becomes a dead letter
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "spool")]
    pub(crate) spool_max_age: Option<Duration>,

    /// How long a broker that is away is tried again, with the same message ids; with --spool, how
    /// long to wait at the end for the spool to empty
    ///
    /// Keep it under the stream's duplicate window, 2m by default: past that an event that was stored
    /// just before the outage could be stored twice.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_outage: Duration,

    /// Stop after this many events that the broker refuses; 0 never stops
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) max_failures: u64,

    /// Which events count as the same one for the stream's duplicate window
    #[arg(long, value_enum, default_value_t = IdRule::Emit)]
    pub(crate) id: IdRule,

    /// How an event lies in a message
    #[arg(long, value_enum, default_value_t = Mode::Structured)]
    pub(crate) mode: Mode,

    /// What to do with a tenant id that is no subject token
    #[arg(long, value_enum, default_value_t = Policy::Refuse)]
    pub(crate) tenant_policy: Policy,

    /// What to do with a line that is no CloudEvent
    #[arg(long, value_enum, default_value_t = OnBadLine::Fail)]
    pub(crate) on_bad_line: OnBadLine,

    /// Append lines that were not stored for their own fault to this file, as they stand
    #[arg(long, value_name = "FILE")]
    pub(crate) rejected: Option<PathBuf>,

    /// First line to publish of the first file, counted from 1
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from_line: u64,

    /// Wait for more at the end of the file, also when it is rotated, or cut off (copytruncate); or
    /// read a FIFO, one writer after another. Ends by a signal
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) follow: bool,

    /// Keep in this file how far the followed file is stored or spooled, and go on there at the next
    /// start; needs --spool, so that nothing is passed over that can't be stored now
    ///
    /// A line's place also gives it its message id, so that what was in flight when the command was
    /// killed is stored once, if it starts again within the stream's duplicate window.
    #[arg(
        long,
        value_name = "FILE",
        requires_all = ["follow", "spool"],
        conflicts_with = "from_line"
    )]
    pub(crate) position: Option<PathBuf>,

    /// Check the lines and count their subjects; connect to nobody
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the summary as one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Show progress on standard error
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub(crate) progress: When,

    /// Serve /metrics for Prometheus, /healthz and /readyz at this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", conflicts_with = "dry_run")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Print no summary
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Log to standard error: -v info, -vv debug, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdRule {
    /// none: each line is an event of its own
    Emit,
    /// those with the same source and id
    SourceId,
    /// those with the same subject and bytes
    Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// the event's JSON as payload
    Structured,
    /// attributes as ce-* headers, the data as payload
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// reject the event
    Refuse,
    /// percent-encode the id
    Encode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadLine {
    /// stop reading, finish what is in flight
    Fail,
    /// count it and go on
    Skip,
}
