//! Arguments of `jetsink spool`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::connection::Connection;
use crate::units::parse_duration;

/// Subcommands of `jetsink spool`. They need a spool that no sink has open.
#[derive(Debug, Subcommand)]
pub(crate) enum Spool {
    /// Show the number of events and bytes
    Status(InSpool),
    /// List the pending events: index, time, subject, message id, bytes
    List(InSpool),
    /// Read the whole spool and change nothing; exit code 1 if it is damaged
    Verify(InSpool),
    /// Deliver the pending events, in order, each once
    Replay(Box<Replay>),
    /// List the dead letters and the reasons, put them back, or delete them
    Dead(Dead),
    /// Write the pending events as JSON lines for `jetsink publish`; nothing is removed
    #[command(after_help = EXPORT_NOTES)]
    Export(Export),
    /// Delete pending events for good
    Discard(Discard),
}

const EXPORT_NOTES: &str = "\
Lines are written subject by subject, each in its order. The events stay in the
spool: after publishing the lines elsewhere, discard them (`--all`), or each
event is stored twice, under another message id.

`jetsink publish` takes every line. Events that were accepted by its --lenient,
or that the CellOS sink spooled, may need that flag again: their number is
printed on standard error.";

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Folder of the spool
    pub(crate) directory: PathBuf,

    /// Write one object per event instead: index, times, subject, message id, and the event
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the dead letters instead
    #[arg(long)]
    pub(crate) dead: bool,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["subject", "index", "all"])]
pub(crate) struct Discard {
    #[command(flatten)]
    pub(crate) spool: InSpool,

    /// Events of this subject
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<String>,

    /// Event with this index, as `list` shows it; repeat for several
    #[arg(long, value_name = "N")]
    pub(crate) index: Vec<u64>,

    /// All pending events
    #[arg(long, conflicts_with_all = ["subject", "index"])]
    pub(crate) all: bool,
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

    /// Move them to the pending events, after the others of their subjects
    #[arg(long, conflicts_with = "delete")]
    pub(crate) revive: bool,

    /// Delete them for good
    #[arg(long)]
    pub(crate) delete: bool,
}

const REPLAY_EXIT_CODES: &str = "\
Exit codes:
  0    the spool is empty
  1    the broker refused events for good (new dead letters), or the spool is
       damaged
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

    /// Treatment of an event if no look-up can tell whether its stream has stored it already
    #[arg(long, value_enum, default_value = "deliver", value_name = "CHOICE")]
    pub(crate) when_unconfirmed: WhenUnconfirmed,

    /// Longest time to deliver
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) wait: Duration,

    /// Log to standard error: -v info, -vv debug, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Treatment of an event that may be stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum WhenUnconfirmed {
    /// send it; it may be stored twice
    Deliver,
    /// keep it and its subject in the spool
    Hold,
}

impl From<WhenUnconfirmed> for jetsink::WhenUnconfirmed {
    fn from(choice: WhenUnconfirmed) -> Self {
        match choice {
            WhenUnconfirmed::Deliver => Self::Deliver,
            WhenUnconfirmed::Hold => Self::Hold,
        }
    }
}
