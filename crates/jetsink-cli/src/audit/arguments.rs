//! `jetsink audit` as it is typed.

use std::path::PathBuf;

use clap::Args;

use crate::arguments::{Connection, When};

const NOTES: &str = "\
Examples:
  jetsink audit --stream CELLOS_EVENTS events.jsonl
  jetsink spool export spool > left.jsonl && jetsink audit --stream EVENTS events.jsonl --may left.jsonl
  jetsink audit --stream CELLOS_EVENTS --json | jq .sinks

With files of what was emitted, one event a line in the order of emission, as stored in structured mode:
  lost          in the files and not in the stream
  altered       there under its source and id, with other bytes
  duplicated    there more often than in the files
  out of order  there behind a later line of the same subject
  unexpected    there and not in the files
Without files, from the message ids that a sink mints, <sink>.<n>, alone: which numbers are missing
(an emit that failed leaves a number out, too), stored twice, or behind a later one of their subject.

Files take some 60 bytes of memory a line, the stream none. Only what the stream held when reading began
is looked at.

Exit codes:
  0  nothing was found
  1  something was; or a stream without files has no message of any sink
  2  wrong usage: a flag, a file, a line that is no event, a stream that is not there
  3  the broker can't be reached, or went away";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Audit {
    /// Files of JSON lines that were emitted; none looks at message ids only
    pub(crate) files: Vec<PathBuf>,

    /// Stream to look through
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: String,

    /// File of JSON lines that may be stored or not, such as those of emits whose outcome is unknown;
    /// repeat for several
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) may: Vec<PathBuf>,

    /// Most findings of each kind that are listed; all are counted
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) show: usize,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Print one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Show progress on standard error
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub(crate) progress: When,
}
