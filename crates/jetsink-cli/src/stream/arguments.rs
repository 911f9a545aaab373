//! `jetsink stream …` as it is typed.

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

A file has one table for each stream, with the flags' names:
  [[stream]]
  name = \"EVENTS\"
  subjects = [\"events.>\"]
  retention-floor = \"90d\"
  replicas = 3

Exit codes:
  0  as it should be, or made so; `plan` says so too after showing differences
  1  `check`: something differs; `apply`: it can't be made so, or the server
     refuses
  2  wrong usage: a flag, a file, a name
  3  the broker can't be reached";

#[derive(Debug, Subcommand)]
pub(crate) enum Stream {
    /// Show how streams differ from what they should be; change nothing
    #[command(after_help = EXAMPLES)]
    Plan(Box<Wanted>),
    /// Create or change streams; what is kept longer or in more copies than asked for stays so
    #[command(after_help = EXAMPLES)]
    Apply(Box<Apply>),
    /// Tell by the exit code whether streams are what they should be, at least
    #[command(after_help = EXAMPLES)]
    Check(Box<Wanted>),
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) wanted: Wanted,

    /// Also shorten the retention, drop subjects and copies, and lower limits to what was asked for
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true, args = ["preset", "file", "name"])]
pub(crate) struct Wanted {
    /// Name of the stream
    #[arg(long, conflicts_with_all = ["preset", "file"], requires = "subjects")]
    pub(crate) name: Option<String>,

    /// Subject that it captures, with * and > as in NATS; repeat for several
    #[arg(long = "subject", value_name = "SUBJECT", requires = "name")]
    pub(crate) subjects: Vec<String>,

    /// A stream that is known by name
    #[arg(long, value_enum, conflicts_with = "file")]
    pub(crate) preset: Option<Preset>,

    /// TOML file of streams
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Print one JSON object for each stream on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// CELLOS_EVENTS over cellos.events.>, on disk, for 90 days
    Cellos,
}

/// What the stream should be, beside its name.
#[derive(Debug, Default, Args)]
pub(crate) struct Limits {
    /// Events are kept at least this long [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "file")]
    pub(crate) retention_floor: Option<Duration>,

    /// Where they are kept [default: file]
    #[arg(long, value_enum, conflicts_with = "file")]
    pub(crate) storage: Option<StorageKind>,

    /// Copies on servers of a cluster [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub(crate) replicas: Option<u8>,

    /// How long the server remembers message ids [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "file")]
    pub(crate) duplicate_window: Option<Duration>,

    /// Most bytes; a new stream refuses what is over, rather than throw away what is old
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, conflicts_with = "file")]
    pub(crate) max_bytes: Option<u64>,

    /// Nobody may delete single messages; can't be taken back
    #[arg(long, conflicts_with = "file")]
    pub(crate) deny_delete: bool,

    /// Nobody may purge it; can't be taken back
    #[arg(long, conflicts_with = "file")]
    pub(crate) deny_purge: bool,

    /// Compress the files [default: as it is]
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no, conflicts_with = "file")]
    pub(crate) compression: Option<bool>,

    /// Cluster that keeps it
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(crate) placement_cluster: Option<String>,

    /// Tag of the servers that may keep it; repeat for several
    #[arg(long = "placement-tag", value_name = "TAG", conflicts_with = "file")]
    pub(crate) placement_tags: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageKind {
    /// on disk
    File,
    /// in memory: gone with the server's process
    Memory,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".to_owned()),
    }
}
