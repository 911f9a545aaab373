//! Arguments of `jetsink audit`.

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

With files of the emitted events, one event per line in the order of emission:
  lost          in the files, not in the stream
  altered       in the stream with the same source and id, but other bytes
  duplicated    in the stream more often than in the files
  out of order  in the stream after a later line of the same subject
  unexpected    in the stream, not in the files
Events in structured mode are compared byte by byte, events in binary mode by
their attributes and data. Equal lines must be in the stream once each.

Without files the audit uses the message ids of sinks, <sink>.<n>: it reports
numbers that are missing (a failed emit skips a number, too), duplicated, or
after a later number of their subject.

The audit reads the messages that the stream contains at its start: do not
publish between the end of the files and the audit. Messages that the stream
has removed are counted; missing events may be among them. Files need about 35
bytes of memory per line (55 with --spooled or events in binary mode), messages
of the stream none.

Exit codes:
  0  no findings
  1  findings; or, without files, no message of any sink
  2  wrong usage: a flag, a file, a line that is not an event; or no such
     stream, no permission
  3  the broker can't be reached, or became unreachable";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Audit {
    /// Files of emitted events as JSON lines, `-` for standard input; without files only message ids
    /// are checked
    pub(crate) files: Vec<PathBuf>,

    /// Stream to read
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,

    /// File of events that may be stored or not, such as those with an unknown outcome; repeat for
    /// several
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) may: Vec<PathBuf>,

    /// File of events that are still in a spool, written by `jetsink spool export`: each excuses one
    /// equal line that is not stored; repeat for several
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) spooled: Vec<PathBuf>,

    /// Maximum number of listed findings per kind, and of listed sinks; all are counted
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
