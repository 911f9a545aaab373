//! `jetsink serve`: the HTTP gateway of `jetsink-serve` as a service.

pub(crate) mod arguments;
mod check;
pub(crate) mod configuration;
mod settings;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{ConnectSettings, NatsPublisher, Sink, SinkSettings, SpoolError, SpoolSettings};
use jetsink_serve::{AdminPages, Gateway, Listener, Reloader, Server};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::connection::{environment, wait_for_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output;
use crate::recorder;
use crate::runtime::runtime;
use arguments::{Serve, ServeCommand, TokenCommand};
use settings::Settings;
pub(crate) use settings::sink_deadline;

/// The interval between two attempts to get the spool's lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum time for blocking calls at the end of the process.
const RUNTIME_END: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Serve) -> Result<u8, Failure> {
    if let Some(ServeCommand::Token(TokenCommand::New(arguments))) = &arguments.command {
        return token::new(arguments);
    }
    let always = arguments.access_log.map(|_| jetsink_serve::ACCESS_LOG);
    output::start_log_with(arguments.verbose, false, always);
    let settings = Settings::resolve(arguments, environment)?;
    if arguments.check {
        return runtime()?.block_on(check::check(arguments, settings));
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        builder.worker_threads(threads.into());
    }
    let runtime = builder.enable_all().build().map_err(Failure::Runtime)?;
    let code = runtime.block_on(serve(arguments, settings));
    // Not longer for a disk that does not answer.
    runtime.shutdown_timeout(RUNTIME_END);
    code
}

async fn serve(arguments: &Serve, settings: Settings) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(Failure::Runtime)?;
    reload_on_change(Reloader::new(settings.access.clone(), settings.tls.clone()))?;
    let listeners = listeners(arguments, &settings).await?;
    let admin = serve_pages(arguments).await?;
    let Settings {
        connect,
        sink,
        spool,
        routes,
        gateway,
        server,
        tls,
        access: _,
    } = settings;
    let opening = async {
        match spool {
            None => Ok(Sink::new(publisher(connect).await?, sink)),
            Some(spool) => open_spool(&connect, &sink, &spool, arguments.spool_wait).await,
        }
    };
    let sink = tokio::select! {
        sink = opening => Arc::new(sink?),
        _ = signals.next() => {
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            output::note("ended before it listened");
            return Ok(0);
        }
    };
    let gateway = Gateway::new(Arc::clone(&sink), routes, gateway)?;
    let addresses: Vec<_> = listeners.iter().filter_map(Listener::address).collect();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = Server::new(&gateway, listeners, server)?;
    for address in addresses {
        output::note(&format!("listening on {scheme}://{address}"));
    }
    for path in &arguments.listen_unix {
        output::note(&format!("listening on {}", path.display()));
    }
    if let Some((address, pages)) = admin {
        output::note(&format!("metrics at http://{address}/metrics"));
        output::note(&format!("status at http://{address}/status"));
        let of_broker = Arc::clone(&sink);
        pages.show(gateway.clone(), move || {
            of_broker.publisher().server_version()
        });
    }
    // Fails without systemd, which is no error.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let stop = async {
        signals.next().await;
        gateway.begin_stop();
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        sleep(arguments.drain_delay).await;
    };
    let all_ended = server.serve(&gateway, stop, arguments.stop_time).await;
    let receipt = sink.close(arguments.stop_time).await;
    output::note(&format!(
        "delivered {}, left in the spool {}, of unknown outcome {}, dead letters {}",
        receipt.delivered, receipt.spooled, receipt.unknown, receipt.dead_letters
    ));
    if !all_ended {
        output::note("requests were cut off after --stop-time");
    }
    Ok(u8::from(!all_ended))
}

/// Serves the pages for operators from now on, also while the start waits for the spool.
async fn serve_pages(
    arguments: &Serve,
) -> Result<Option<(SocketAddr, AdminPages<NatsPublisher>)>, Failure> {
    let Some(address) = arguments.admin_listen else {
        return Ok(None);
    };
    let listener = Listener::tcp(address, None).await;
    let listener = listener.map_err(|error| Failure::Usage(format!("--admin-listen: {error}")))?;
    let address = listener.address().unwrap_or(address);
    let metrics = recorder::install();
    let metrics = metrics.map_err(|error| Failure::Usage(format!("metrics: {error}")))?;
    let pages = AdminPages::new(arguments.allow_host.clone(), move || metrics.render());
    tokio::spawn(pages.clone().serve(listener));
    Ok(Some((address, pages)))
}

async fn listeners(arguments: &Serve, settings: &Settings) -> Result<Vec<Listener>, Failure> {
    let mut listeners = Listener::from_systemd(settings.tls.as_ref())?;
    for path in &arguments.listen_unix {
        listeners.push(Listener::unix(path, arguments.unix_mode).await?);
    }
    for address in arguments.addresses(!listeners.is_empty()) {
        listeners.push(Listener::tcp(address, settings.tls.clone()).await?);
    }
    Ok(listeners)
}

/// Starts with or without a broker.
async fn publisher(connect: ConnectSettings) -> Result<NatsPublisher, Failure> {
    let publisher = NatsPublisher::connect(connect).await?;
    wait_for_connection(&publisher).await;
    Ok(publisher)
}

/// Opens the spool, and waits for a process that still has it.
async fn open_spool(
    connect: &ConnectSettings,
    sink: &SinkSettings,
    spool: &SpoolSettings,
    wait: Duration,
) -> Result<Sink<NatsPublisher>, Failure> {
    let give_up = Instant::now() + wait;
    let mut is_waiting = false;
    loop {
        let publisher = publisher(connect.clone()).await?;
        match Sink::with_spool(publisher, sink.clone(), spool.clone()).await {
            Err(error @ SpoolError::InUse { .. }) if Instant::now() < give_up => {
                if !std::mem::replace(&mut is_waiting, true) {
                    output::note(&format!("{error}; waiting up to {wait:?} for it"));
                }
                sleep(LOCK_INTERVAL).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Reloads on SIGHUP, and when a file changes.
fn reload_on_change(reloader: Reloader) -> Result<(), Failure> {
    let mut hangups = signal(SignalKind::hangup()).map_err(Failure::Runtime)?;
    tokio::spawn(async move {
        let on_signal = async {
            while hangups.recv().await.is_some() {
                reloader.reload();
            }
        };
        tokio::join!(on_signal, reloader.watch());
    });
    Ok(())
}
