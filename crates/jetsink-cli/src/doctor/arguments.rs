//! `jetsink doctor` as it is typed.

use std::time::Duration;

use clap::Args;

use crate::connection::Connection;
use crate::units::parse_duration;

const EXAMPLES: &str = "\
Examples:
  jetsink doctor --subject 'cellos.events.{tenantId}' -s nats://n1,nats://n2 --creds app.creds
  jetsink doctor --subject events.all --json | jq 'select(.level != \"ok\")'

Changes nothing and stores nothing. Each finding has a code that stays.

Exit codes:
  0  no problem; there may be warnings
  1  a problem was found
  2  wrong usage: a flag, a file, a URL, a template";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Subject that events go to, as for `jetsink publish`; repeat for several
    #[arg(
        long = "subject",
        env = "JETSINK_SUBJECT",
        value_name = "TEMPLATE",
        required = true
    )]
    pub(crate) subjects: Vec<String>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Events should be kept at least this long
    #[arg(long, default_value = "90d", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retention_floor: Duration,

    /// How long one event is tried, --deadline and --max-outage of `jetsink publish` together; the
    /// stream should remember message ids for longer
    #[arg(long, default_value = "32s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retry_span: Duration,

    /// Print one JSON object for each finding on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
