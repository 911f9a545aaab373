//! Arguments of `jetsink doctor`.

use std::time::Duration;

use clap::Args;

use super::gateway::{GatewayAddress, parse_address};
use crate::connection::Connection;
use crate::spool::arguments::WhenUnconfirmed;
use crate::units::parse_duration;

const EXAMPLES: &str = "\
Examples:
  jetsink doctor --subject 'cellos.events.{tenantId}' -s nats://n1,nats://n2 --creds app.creds
  jetsink doctor --subject events.all --json | jq 'select(.level != \"ok\")'
  jetsink doctor --serve http://127.0.0.1:9464

Changes nothing and stores nothing, except that it reads by a consumer, which it deletes. The codes of findings are stable.

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
        required_unless_present = "serve"
    )]
    pub(crate) subjects: Vec<String>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Minimum time that events should be kept
    #[arg(long, default_value = "90d", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retention_floor: Duration,

    /// Longest time that an event is retried, --deadline plus --max-outage of `jetsink publish`; the
    /// stream should remember message ids for longer
    #[arg(long, default_value = "32s", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retry_span: Duration,

    /// Treatment of a spooled event if no look-up can tell whether its stream has stored it already, as for
    /// `jetsink publish`; the findings show its effect
    #[arg(long, value_enum, default_value = "deliver", value_name = "CHOICE")]
    pub(crate) when_unconfirmed: WhenUnconfirmed,

    /// Check the gateway whose pages for operators are at this address, that of its --admin-listen
    #[arg(long, value_name = "URL", value_parser = parse_address)]
    pub(crate) serve: Option<GatewayAddress>,

    /// Print one JSON object per finding on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
