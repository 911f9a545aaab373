//! `jetsink audit` as it is typed.

use std::path::PathBuf;

use clap::Args;
use jetsink::StreamName;

use crate::connection::{Connection, When};

const NOTES: &str = "\
Examples:
  jetsink audit --stream CELLOS_EVENTS events.jsonl
  zcat old.jsonl.gz | jetsink audit --stream CELLOS_EVENTS - new.jsonl
  jetsink spool export spool | jetsink audit --stream EVENTS events.jsonl --spooled -
  jetsink audit --stream CELLOS_EVENTS --json | jq .sinks

With files of what was emitted, one event a line in the order of emission:
  lost          in the files and not in the stream
  altered       there under its source and id, with other bytes
  duplicated    there more often than in the files
  out of order  there behind a later line of the same subject
  unexpected    there and not in the files
Events in structured mode are compared byte for byte; those in binary mode,
which have other bytes, by their attributes and data. Of equal lines each is
to be there once.

Without files, from the message ids that a sink mints, <sink>.<n>, alone:
which numbers are missing (an emit that failed leaves a number out, too),
stored twice, or behind a later one of their subject.

Only what the stream held when reading began is looked at: let nobody publish
from the files' end until then. What the stream itself has removed is counted,
and may be what is missing. Files take about 35 bytes of memory a line (55
with --spooled or events in binary mode), the stream's messages none.

Exit codes:
  0  nothing was found
  1  something was; or a stream without files has no message of any sink
  2  wrong usage: a flag, a file, a line that is no event; or no such stream,
     no permission
  3  the broker can't be reached, or went away";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Audit {
    /// Files of JSON lines that were emitted, `-` for standard input; none looks at message ids only
    pub(crate) files: Vec<PathBuf>,

    /// Stream to look through
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,

    /// File of further JSON lines that may be stored or not, such as those of emits whose outcome is
    /// unknown; repeat for several
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) may: Vec<PathBuf>,

    /// File of the files' lines that wait in a spool still, as `jetsink spool export` writes it: each
    /// excuses one equal line from being stored; repeat for several
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) spooled: Vec<PathBuf>,

    /// Most findings of each kind, and most sinks, that are listed; all are counted
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
