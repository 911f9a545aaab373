//! The start of a gateway: takes its addresses and its spool, also from a predecessor that is ending.
//!
//! In a rolling restart on one host the predecessor has everything that the new process needs. With `--spool-wait` the new one
//! waits for all of it at once: an address that becomes free before the spool queues connections instead of refusing them.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{NatsPublisher, OpenSpool, Sink, SpoolError, SpoolSettings};
use jetsink_serve::{AdminPages, ListenError, Listener};
use tokio::time::{Instant, sleep};

use super::arguments::Serve;
use super::settings::{Settings, wrong_connection};
use crate::connection::wait_for_connection;
use crate::failure::Failure;
use crate::output;
use crate::recorder;

/// The interval between two attempts to take something that another process has.
const INTERVAL: Duration = Duration::from_millis(50);

/// The parts of a gateway that no other process can have at the same time.
pub(super) struct Started {
    pub(super) listeners: Vec<Listener>,
    pub(super) pages: Option<(SocketAddr, AdminPages<NatsPublisher>)>,
    pub(super) sink: Arc<Sink<NatsPublisher>>,
}

/// The wait for a predecessor, with one end for everything that it has.
struct HandOver {
    wait: Duration,
    give_up: Instant,
}

/// Takes the addresses and the spool, then connects to the broker, with or without success.
pub(super) async fn take_over(arguments: &Serve, settings: &Settings) -> Result<Started, Failure> {
    let wait = arguments.spool_wait;
    let hand_over = HandOver {
        wait,
        give_up: Instant::now() + wait,
    };
    let (pages, listeners, spool) = tokio::try_join!(
        pages(arguments, &hand_over),
        listeners(arguments, settings, &hand_over),
        spool(settings.spool.as_ref(), &hand_over),
    )?;
    let publisher = NatsPublisher::connect(settings.connect.clone()).await;
    let publisher = publisher.map_err(|error| wrong_connection(arguments, error))?;
    wait_for_connection(&publisher).await;
    let sink = settings.sink.clone();
    let sink = match spool {
        None => Sink::new(publisher, sink),
        Some(spool) => Sink::with_open_spool(publisher, sink, spool),
    };
    Ok(Started {
        listeners,
        pages,
        sink: Arc::new(sink),
    })
}

impl HandOver {
    /// Attempts to take something until no other process has it, or the wait ends.
    async fn take<T, E: Display>(
        &self,
        has_another: impl Fn(&E) -> bool,
        attempt: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut is_waiting = false;
        loop {
            match attempt().await {
                Err(error) if has_another(&error) && Instant::now() < self.give_up => {
                    if !std::mem::replace(&mut is_waiting, true) {
                        output::note(&format!("{error}; waiting up to {:?} for it", self.wait));
                    }
                    sleep(INTERVAL).await;
                }
                taken => return taken,
            }
        }
    }

    async fn tcp(
        &self,
        address: SocketAddr,
        settings: Option<&Settings>,
    ) -> Result<Listener, ListenError> {
        let tls = || settings.and_then(|settings| settings.tls.clone());
        self.take(is_in_use, async || Listener::tcp(address, tls()).await)
            .await
    }
}

fn is_in_use(error: &ListenError) -> bool {
    matches!(error, ListenError::Bind { error, .. } if error.kind() == io::ErrorKind::AddrInUse)
}

/// Serves the pages for operators from now on, also while the start waits.
async fn pages(
    arguments: &Serve,
    hand_over: &HandOver,
) -> Result<Option<(SocketAddr, AdminPages<NatsPublisher>)>, Failure> {
    let Some(address) = arguments.admin_listen else {
        return Ok(None);
    };
    let listener = hand_over.tcp(address, None).await;
    let listener = arguments.valid("admin-listen", listener)?;
    let address = listener.address().unwrap_or(address);
    let metrics = recorder::install();
    let metrics = metrics.map_err(|error| Failure::Usage(format!("metrics: {error}")))?;
    let pages = AdminPages::new(arguments.allow_host.clone(), move || metrics.render());
    tokio::spawn(pages.clone().serve(listener));
    Ok(Some((address, pages)))
}

async fn listeners(
    arguments: &Serve,
    settings: &Settings,
    hand_over: &HandOver,
) -> Result<Vec<Listener>, Failure> {
    let mut listeners = Listener::from_systemd(settings.tls.as_ref())?;
    for path in &arguments.listen_unix {
        let mode = arguments.unix_mode;
        let listener = hand_over
            .take(is_in_use, async || Listener::unix(path, mode).await)
            .await;
        listeners.push(arguments.valid("listen-unix", listener)?);
    }
    for address in arguments.addresses(!listeners.is_empty()) {
        let listener = hand_over.tcp(address, Some(settings)).await;
        listeners.push(arguments.valid("listen", listener)?);
    }
    Ok(listeners)
}

async fn spool(
    settings: Option<&SpoolSettings>,
    hand_over: &HandOver,
) -> Result<Option<OpenSpool>, Failure> {
    let Some(settings) = settings else {
        return Ok(None);
    };
    let is_locked = |error: &SpoolError| matches!(error, SpoolError::InUse { .. });
    let open = async || OpenSpool::open(settings.clone()).await;
    Ok(Some(hand_over.take(is_locked, open).await?))
}
