//! Arguments of `jetsink publish`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use jetsink::StreamName;

use crate::connection::{Connection, When};
use crate::spool::arguments::WhenUnconfirmed;
use crate::units::{parse_duration, parse_spool_limit};

const EXAMPLES: &str = "\
Examples:
  jetsink publish --subject 'cellos.events.{tenantId}' events.jsonl
  jetsink publish --subject events.all --follow --position pos --spool spool events.jsonl
  jetsink publish --subject events.all old.jsonl.gz older.jsonl.zst
  jetsink publish --subject 'events.{type}' --creds app.creds -s nats://n1,nats://n2 *.jsonl
  jetsink publish --subject events.all --dry-run events.jsonl
  jetsink publish --subject events.all --on-bad-line skip --rejected bad.jsonl in.jsonl

Lines are published unchanged, without their line end (LF or CRLF). Empty lines
and a byte order mark at the start of a file are skipped. Ctrl-C stops reading,
retries the events in flight for up to 5 s and prints where to resume; a second
one ends at once.

Exit codes:
  0    every event is stored
  1    some events are not stored: bad lines, refused events, new dead letters,
       damaged records or files of the spool, followed files that can't be
       read; or standard output can't be written
  2    wrong usage: a flag, a file, a URL, a template; nothing was published.
       Or --rejected or --position can't be written: the summary has the
       events that were stored, and the place to resume
  3    the broker was unreachable for longer than --max-outage, also at the
       start, or it refuses the login
  4    with --spool: every event is stored or in the spool, and the spool is not
       empty
  5    with --spool: the spool took no more events; it stayed full for longer than
       --max-outage, or its disk fails
  130  interrupted (Ctrl-C), also behind the last line; 143 by SIGTERM; with
       --follow 0 if all lines that were read are stored";

/// Arguments of `jetsink publish`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// Files of events; `-` or none reads standard input
    pub(crate) files: Vec<PathBuf>,

    /// Subject to publish to, such as events.{tenantId}.{type:levels}; begins with a literal token
    ///
    /// {tenantId} is the event's tenant or `single`. Any attribute can be named and becomes one token, encoded if
    /// necessary: {type}, {source}, {subject}, {partitionkey}. With `:levels`, which one placeholder can have, each
    /// part between dots becomes a token. An event without the attribute is refused, unless the template has a
    /// default: {subject|none}.
    #[arg(long, env = "JETSINK_SUBJECT", value_name = "TEMPLATE")]
    pub(crate) subject: String,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Stream that must store the events; publishing to another one fails
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<StreamName>,

    /// Maximum events in flight, 1 to 16384; 1 keeps the order even if the stream refuses one event for
    /// a moment [default: adapts to the best rate, at most 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub(crate) window: Option<u16>,

    /// Longest duration of one attempt to publish an event
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) deadline: Duration,

    /// Folder of a spool: events that can't be sent now are kept there and delivered in order later, by
    /// this run or the next one with the same folder
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,

    /// Maximum bytes of events and dead letters in the spool, such as 512MiB; a full spool takes no more events
    /// [default: 1 GiB, at most half of the free disk space]
    #[arg(long, value_name = "BYTES", value_parser = parse_spool_limit, requires = "spool")]
    pub(crate) spool_limit: Option<u64>,

    /// Maximum age of events in the spool, such as 12h or 3d; older ones become dead letters
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "spool")]
    pub(crate) spool_max_age: Option<Duration>,

    /// Treatment of a spooled event if no look-up can tell whether its stream has stored it already
    #[arg(
        long,
        value_enum,
        default_value = "deliver",
        value_name = "CHOICE",
        requires = "spool"
    )]
    pub(crate) when_unconfirmed: WhenUnconfirmed,

    /// Longest time to retry while the broker is unreachable, also at the start, or a stream has no leader, with the same
    /// message ids; with --spool, longest time to wait at the end for the spool to empty
    ///
    /// Keep it below the stream's duplicate window, 2m by default: after that an event that was stored
    /// just before the outage could be stored twice.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_outage: Duration,

    /// Stop after this many refused events; 0 never stops
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) max_failures: u64,

    /// Which events are duplicates of each other within the stream's duplicate window
    #[arg(long, value_enum, default_value_t = IdRule::Emit)]
    pub(crate) id: IdRule,

    /// Content mode of the messages
    #[arg(long, value_enum, default_value_t = Mode::Structured)]
    pub(crate) mode: Mode,

    /// Attribute with the time at which an event expires: the message gets the time that is left as its time to live,
    /// which the stream has to allow (stream apply --allow-ttl)
    ///
    /// An event that has expired before it is sent fails, or becomes a dead letter of the spool.
    #[arg(long, value_enum, value_name = "ATTRIBUTE")]
    pub(crate) ttl_from: Option<TtlFrom>,

    /// Handling of a tenant id that is not a valid subject token
    #[arg(long, value_enum, default_value_t = Policy::Refuse)]
    pub(crate) tenant_policy: Policy,

    /// Handling of a line that is not a CloudEvent
    #[arg(long, value_enum, default_value_t = OnBadLine::Fail)]
    pub(crate) on_bad_line: OnBadLine,

    /// Maximum number of bad lines that are reported per minute, of failed events, and of unread files; the others are
    /// counted, with the first and the last of them
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) show: u64,

    /// Accept events that break rules of CloudEvents 1.0.2 which consumers in the wild tolerate, such as the one that
    /// `time` is a timestamp of RFC 3339, and count them
    ///
    /// Without it every rule is enforced. Always enforced: an event is one JSON object with the strings `specversion`,
    /// `id`, `source` and `type`, no member appears twice, and the tenant and each attribute of --subject can be read.
    #[arg(long)]
    pub(crate) lenient: bool,

    /// Handling of a broken chain, with --format cellos-audit-trail
    ///
    /// A row that was altered is never published.
    #[arg(long, value_enum, default_value_t = OnBrokenChain::Stop, value_name = "CHOICE")]
    pub(crate) on_broken_chain: OnBrokenChain,

    /// Append lines that were not stored because of their content or subject to this file, unchanged
    #[arg(long, value_name = "FILE")]
    pub(crate) rejected: Option<PathBuf>,

    /// Format of the input; gzip and zstd are decompressed first
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    pub(crate) format: Format,

    /// First line to publish of the first file, or first event with --format json, counted from 1
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from_line: u64,

    /// Wait for more lines, over rotation (rename, copytruncate, compression); files, folders and
    /// quoted patterns such as '/var/log/*/events.jsonl', or FIFOs. A signal ends it
    ///
    /// Each file is opened as soon as it appears, so that nothing is lost while the broker is unreachable. A file that
    /// was removed or truncated before its lines were read is reported, and the exit code is 1.
    #[arg(short, long, conflicts_with = "dry_run")]
    pub(crate) follow: bool,

    /// Time that writers of a rotated file have for late lines, after their last one
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = parse_duration, requires = "follow")]
    pub(crate) rotate_wait: Duration,

    /// Start of the first run in existing files; later runs resume at --position
    #[arg(long, value_enum, default_value_t = StartAt::Beginning, requires = "follow", conflicts_with = "from_line")]
    pub(crate) start_at: StartAt,

    /// Save the positions in the followed files to this file, or to a folder with a file per log, and
    /// resume from there; needs --spool, so that no event is skipped that can't be sent now
    ///
    /// Message ids are derived from the positions: events that were in flight when the command was
    /// killed are stored once, if it starts again within the stream's duplicate window.
    #[arg(
        long,
        value_name = "PATH",
        requires_all = ["follow", "spool"],
        conflicts_with = "from_line"
    )]
    pub(crate) position: Option<PathBuf>,

    /// Check the lines and count their subjects, without a connection
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

    /// Show no progress and no summary; bad lines, failed events and the log stay
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Log to standard error: -v info, -vv debug, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdRule {
    /// none: each line is a separate event
    Emit,
    /// those with equal subject, source and id
    SourceId,
    /// those with equal subject and bytes
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
pub(crate) enum TtlFrom {
    /// the extension of CloudEvents for it, a timestamp
    Expirytime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// reject the event
    Refuse,
    /// percent-encode the id
    Encode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// one event per line
    Lines,
    /// JSON values one after another: pretty-printed or concatenated events, arrays of events
    Json,
    /// the file audit-trail.jsonl of CellOS' cellos-sink-spool: its chain of hashes is verified; message ids are of
    /// the subject and the hash of the row
    CellosAuditTrail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBrokenChain {
    /// report it and publish nothing behind it
    Stop,
    /// report it and publish the rows behind it
    Continue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StartAt {
    /// publish the lines that are in the files
    Beginning,
    /// publish only lines that are completed later
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadLine {
    /// stop reading, wait for the events in flight
    Fail,
    /// count it and continue
    Skip,
}
