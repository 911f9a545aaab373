//! Arguments of `jetsink stream`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::connection::Connection;
use crate::units::{parse_bytes, parse_duration};

const EXAMPLES: &str = "\
Examples:
  jetsink stream plan --preset cellos --replicas 3
  jetsink stream apply --name EVENTS --subject 'events.>' --retention-floor 365d
  jetsink stream check --file streams.toml && systemctl start my-service

A file has one table per stream, with the flags' names:
  [[stream]]
  name = \"EVENTS\"
  subjects = [\"events.>\"]
  retention-floor = \"90d\"
  replicas = 3

Exit codes:
  0  `check`: the streams fit; `apply`: they fit or were changed; `plan`:
     always
  1  `check`: a stream differs; `apply`: a change is impossible or refused;
     all: a request is refused
  2  wrong usage: a flag, a file, a name
  3  the broker can't be reached";

#[derive(Debug, Subcommand)]
pub(crate) enum Stream {
    /// Show the differences between streams and their specification; change nothing
    #[command(after_help = EXAMPLES)]
    Plan(Box<Wanted>),
    /// Create or change streams; a longer retention or more copies than specified are kept
    #[command(after_help = EXAMPLES)]
    Apply(Box<Apply>),
    /// Report by the exit code whether streams fulfil their specification
    #[command(after_help = EXAMPLES)]
    Check(Box<Wanted>),
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) wanted: Wanted,

    /// Also shorten the retention, remove subjects and copies, and lower limits to the specified values
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true, args = ["preset", "file", "name"])]
pub(crate) struct Wanted {
    /// Name of the stream
    #[arg(long, conflicts_with_all = ["preset", "file"], requires = "subjects")]
    pub(crate) name: Option<String>,

    /// Captured subject, with the wildcards * and >; repeat for several
    #[arg(long = "subject", value_name = "SUBJECT", requires = "name")]
    pub(crate) subjects: Vec<String>,

    /// Predefined stream
    #[arg(long, value_enum, conflicts_with = "file")]
    pub(crate) preset: Option<Preset>,

    /// TOML file with streams
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Print one JSON object per stream on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// CELLOS_EVENTS over cellos.events.>, on disk, for 90 days
    Cellos,
}

/// The specification of a stream, except its name and subjects.
#[derive(Debug, Default, Args)]
pub(crate) struct Limits {
    /// Minimum retention of events [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "file")]
    pub(crate) retention_floor: Option<Duration>,

    /// Storage of events [default: file]
    #[arg(long, value_enum, conflicts_with = "file")]
    pub(crate) storage: Option<StorageKind>,

    /// Number of copies in a cluster [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub(crate) replicas: Option<u8>,

    /// Time that the server remembers message ids [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "file")]
    pub(crate) duplicate_window: Option<Duration>,

    /// Maximum bytes; a full stream refuses new events and keeps the old ones
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, conflicts_with = "file")]
    pub(crate) max_bytes: Option<u64>,

    /// Forbid the deletion of single messages; can't be undone
    #[arg(long, conflicts_with = "file")]
    pub(crate) deny_delete: bool,

    /// Forbid purges; can't be undone
    #[arg(long, conflicts_with = "file")]
    pub(crate) deny_purge: bool,

    /// Allow messages with a time to live of their own (publish --ttl-from), since nats-server 2.11; can't be undone
    #[arg(long, conflicts_with = "file")]
    pub(crate) allow_ttl: bool,

    /// Compress the files [default: unchanged]
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no, conflicts_with = "file")]
    pub(crate) compression: Option<bool>,

    /// Cluster for the stream
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) placement_cluster: Option<String>,

    /// Tag of the servers for the stream; repeat for several
    #[arg(long = "placement-tag", value_name = "TAG", conflicts_with = "file")]
    pub(crate) placement_tags: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageKind {
    /// on disk
    File,
    /// in memory: lost with the server's process
    Memory,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}
