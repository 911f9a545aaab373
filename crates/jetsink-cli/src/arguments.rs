//! The command line as it is typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::audit::arguments::Audit;
use crate::doctor::arguments::Doctor;
use crate::drill::arguments::Drill;
use crate::packaging::{Completions, ManualPages};
use crate::stream::arguments::Stream;
use crate::tail::arguments::Tail;
use crate::units::{parse_bytes, parse_duration};

/// Hands CloudEvents to NATS JetStream, and says which are stored.
#[derive(Debug, Parser)]
#[command(name = "jetsink", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish JSON lines of CloudEvents, each stored once, in order
    Publish(Box<Publish>),
    /// Look after a spool: what waits in it, what is dead, deliver it
    #[command(subcommand)]
    Spool(Spool),
    /// Create and check the streams that events go to
    #[command(subcommand)]
    Stream(Stream),
    /// Look at servers, login and streams, and say what is wrong and how to mend it
    Doctor(Box<Doctor>),
    /// Hold a stream against what was emitted: lost, altered, duplicated, out of order, unexpected
    Audit(Box<Audit>),
    /// Rehearse an outage: a broker of its own, a load, faults, and a verdict on each event
    Drill(Box<Drill>),
    /// Show a stream's events as they are stored, or those that are there
    Tail(Box<Tail>),
    /// Print a script that completes the command in a shell
    Completions(Completions),
    /// Print the manual page, or write all of them to a folder
    Man(ManualPages),
}

/// `jetsink spool …`; while no sink has the spool open.
#[derive(Debug, Subcommand)]
pub(crate) enum Spool {
    /// How much is in it
    Status(InSpool),
    /// One line for each event that waits: index, time, subject, message id, bytes
    List(InSpool),
    /// Read all of it, from a copy; exit code 1 if anything is damaged
    Verify(InSpool),
    /// Deliver what waits, in order, each once
    Replay(Box<Replay>),
    /// The events that the broker refused for good, and why
    Dead(Dead),
    /// Write what waits as JSON lines that `jetsink publish` reads; nothing is removed
    #[command(after_help = EXPORT_NOTES)]
    Export(Export),
    /// Delete waiting events that nobody will ever take
    Discard(Discard),
}

const EXPORT_NOTES: &str = "\
Lines come subject by subject, each in its order. The events stay in the
spool: who publishes the lines elsewhere empties the spool by discard, or each
event is stored twice, under another message id.";

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Folder of the spool
    pub(crate) directory: PathBuf,

    /// Write an object for each event instead: index, times, subject, message id, and the event
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the dead letters instead
    #[arg(long)]
    pub(crate) dead: bool,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["subject", "index"])]
pub(crate) struct Discard {
    #[command(flatten)]
    pub(crate) spool: InSpool,

    /// Those of this subject
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<String>,

    /// The one with this index, as `list` shows it; repeat for several
    #[arg(long, value_name = "N")]
    pub(crate) index: Vec<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct InSpool {
    /// Folder of the spool
    pub(crate) directory: PathBuf,

    /// Print JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dead {
    #[command(flatten)]
    pub(crate) spool: InSpool,

    /// Put them back among those that wait, behind the others of their subjects
    #[arg(long, conflicts_with = "delete")]
    pub(crate) revive: bool,

    /// Delete them for good
    #[arg(long)]
    pub(crate) delete: bool,
}

const REPLAY_EXIT_CODES: &str = "\
Exit codes:
  0    the spool is empty
  1    the broker refused events for good, now dead letters; or damage was
       found
  2    wrong usage, or a spool that can't be opened
  4    events are left in the spool
  130  interrupted (Ctrl-C); 143 by SIGTERM";

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXIT_CODES)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) spool: InSpool,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// How long to go on while there is something left
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) wait: Duration,

    /// Log to standard error: -v info, -vv debug, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

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

/// Where the broker is and how to log in.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Servers, separated by commas [env: NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(short, long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Context of the `nats` command [env: NATS_CONTEXT] [default: where no server is given, the
    /// one that `nats context select` chose]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// User, or a token if there is no password [env: NATS_USER]
    #[arg(long)]
    pub(crate) user: Option<String>,

    /// Password; better given by the variable, since others can see flags [env: NATS_PASSWORD]
    #[arg(long)]
    pub(crate) password: Option<String>,

    /// Token; better given by the variable [env: NATS_TOKEN]
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

    /// Speak TLS before the server greets, for servers with `handshake_first`
    #[arg(long)]
    pub(crate) tlsfirst: bool,

    /// Receive answers under this prefix instead of `_INBOX`
    #[arg(long, value_name = "PREFIX")]
    pub(crate) inbox_prefix: Option<String>,

    /// JetStream domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) js_domain: Option<String>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// on a terminal
    Auto,
    /// also in a pipe
    Always,
    /// nowhere
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_hold_together() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
