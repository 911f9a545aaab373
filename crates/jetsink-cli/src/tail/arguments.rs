//! Arguments of `jetsink tail`.

use std::time::{Duration, SystemTime};

use clap::Args;
use jetsink::StreamName;
use jiff::Timestamp;

use crate::connection::Connection;
use crate::units::parse_duration;

const NOTES: &str = "\
Examples:
  jetsink tail --stream CELLOS_EVENTS
  jetsink tail --stream CELLOS_EVENTS --last 20 --tenant acme --type 'dev.cellos.*.destroyed'
  jetsink tail --stream CELLOS_EVENTS --since 10m --no-follow --json | jq .event.data
  jetsink tail --stream CELLOS_EVENTS --subject 'cellos.events.{tenantId}' --tenant acme

Each line contains the time at which the stream stored the event (UTC), and the
event's tenant, type, source and id. The tenant is data.tenantId, else
data.correlation.tenantId, else `single`. On a terminal the columns are cut to
its width; otherwise they are whole and separated by tabs. Control characters
are escaped. A message that is not a CloudEvent is shown with its subject and
the beginning of its payload.

The command acknowledges nothing and deletes its consumer at the end. If the
connection is lost while it follows, it resumes after the last message and says
so on standard error. It ends with --no-follow, after --until, on Ctrl-C, and
when its pipe is closed.

Exit codes:
  0         ended by --no-follow, --count, --until, a closed pipe, or while
            following by a signal
  1         standard output can't be written
  2         wrong usage; or the broker refuses: no such stream, no JetStream,
            no permission
  3         the broker can't be reached, or was lost with --no-follow or after
            --until
  130, 143  with --no-follow: interrupted by Ctrl-C, by SIGTERM";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Tail {
    /// Stream to read
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: StreamName,

    /// Only events of this tenant; repeat for several
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Vec<String>,

    /// Only events of this type, `*` for any characters and `?` for one; repeat for several
    #[arg(long = "type", value_name = "GLOB")]
    pub(crate) event_type: Vec<String>,

    /// Only messages of this subject, with the wildcards `*` and `>`; or the template of the published
    /// events: then the broker filters by --tenant. Repeat for several
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Vec<String>,

    /// Begin with events stored at this time, such as 10m (ago) or 2026-11-27T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, group = "start")]
    pub(crate) since: Option<Moment>,

    /// End with events stored up to this time
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) until: Option<Moment>,

    /// Begin with the last N stored events that pass the filters [default with --no-follow: 10]
    #[arg(long, value_name = "N", group = "start")]
    pub(crate) last: Option<usize>,

    /// Begin with the first stored event
    #[arg(long, group = "start")]
    pub(crate) all: bool,

    /// End at the last stored event
    #[arg(long)]
    pub(crate) no_follow: bool,

    /// End after N lines
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Print one JSON object per line: sequence, stored_at, subject, message_id, event
    #[arg(long)]
    pub(crate) json: bool,

    /// Log to standard error: -v info, -vv debug, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// A time argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Ago(Duration),
    At(SystemTime),
}

impl Moment {
    pub(super) fn resolve(self, now: SystemTime) -> SystemTime {
        match self {
            // Servers refuse earlier times.
            Self::Ago(time) => {
                let ago = now.checked_sub(time);
                ago.map_or(SystemTime::UNIX_EPOCH, |ago| {
                    ago.max(SystemTime::UNIX_EPOCH)
                })
            }
            Self::At(time) => time,
        }
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = parse_duration(text) {
        return Ok(Moment::Ago(time));
    }
    let time: Timestamp = text.parse().map_err(|_| {
        format!("{text:?} is no time; write it like 10m (ago), 2h, or 2026-11-27T10:00:00Z")
    })?;
    Ok(Moment::At(time.into()))
}

#[cfg(test)]
#[path = "tests/arguments.rs"]
mod tests;
