//! A spool that is open before there is a sink on it.

use crate::outcome::SpoolError;
use crate::replay::settings::SpoolSettings;
use crate::spool::{Spool, lost_task};

/// An open spool, for [`Sink::with_open_spool`](crate::Sink::with_open_spool). No other process can open it until it, or the sink
/// on it, is closed or dropped. A service that waits for the lock of another process opens the spool first and connects once it
/// has the lock.
///
/// ```no_run
/// use jetsink::{ConnectSettings, NatsPublisher, OpenSpool, Sink, SinkSettings, SpoolSettings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let spool = OpenSpool::open(SpoolSettings::new("/var/lib/shop/spool")).await?;
/// let broker = ConnectSettings::new("nats://127.0.0.1:4222")?.start_disconnected(true);
/// let publisher = NatsPublisher::connect(broker).await?;
/// let sink = Sink::with_open_spool(publisher, SinkSettings::default(), spool);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpenSpool {
    pub(super) spool: Spool,
    pub(super) settings: SpoolSettings,
}

impl OpenSpool {
    /// Opens the spool, or makes it. Its scan begins; replay begins with the sink.
    ///
    /// Dropping the future lets the opening go on; the spool is free once that has ended.
    ///
    /// # Errors
    /// As [`Sink::with_spool`](crate::Sink::with_spool).
    pub async fn open(settings: SpoolSettings) -> Result<Self, SpoolError> {
        let opening = settings.clone();
        let opened = tokio::task::spawn_blocking(move || {
            Spool::open(opening.directory(), opening.chosen_limit())
        })
        .await;
        let spool = opened.unwrap_or_else(|ended| Err(lost_task(&ended)))?;
        Ok(Self { spool, settings })
    }
}
