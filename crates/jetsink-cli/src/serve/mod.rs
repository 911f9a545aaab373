//! `jetsink serve`: the HTTP gateway of `jetsink-serve` as a service.

pub(crate) mod arguments;
mod check;
pub(crate) mod configuration;
mod file_limit;
mod settings;
mod start;
mod token;

use std::sync::Arc;
use std::time::Duration;

use jetsink_serve::{Gateway, Listener, Reloader, Server};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::connection::environment;
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, LogFrom, damaged_part};
use crate::runtime::runtime;
use arguments::{Serve, ServeCommand, TokenCommand};
use settings::Settings;
pub(crate) use settings::sink_deadline;
use start::Started;

/// The maximum time for blocking calls at the end of the process.
const RUNTIME_END: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Serve) -> Result<u8, Failure> {
    if let Some(ServeCommand::Token(TokenCommand::New(arguments))) = &arguments.command {
        return token::new(arguments);
    }
    let always = arguments.access_log.map(|_| jetsink_serve::ACCESS_LOG);
    output::start_log_with(arguments.verbose, LogFrom::Warning, always);
    for text in &arguments.unknown_variables {
        output::note(text);
    }
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
    let connections = file_limit::connections(arguments.limits.max_connections);
    reload_on_change(Reloader::new(settings.access.clone(), settings.tls.clone()))?;
    let started = tokio::select! {
        started = start::take_over(arguments, &settings) => started?,
        _ = signals.next() => {
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            output::note("ended before it listened");
            return Ok(0);
        }
    };
    let Started {
        listeners,
        pages: admin,
        sink,
    } = started;
    let Settings {
        routes,
        gateway,
        server,
        tls,
        ..
    } = settings;
    let gateway = arguments.valid("route", Gateway::new(Arc::clone(&sink), routes, gateway))?;
    let addresses: Vec<_> = listeners.iter().filter_map(Listener::address).collect();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = arguments.valid("max-connections", server.max_connections(connections))?;
    let server = arguments.valid("listen", Server::new(&gateway, listeners, server))?;
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
        pages.show(gateway.clone(), move || of_broker.publisher().into());
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
    let damaged = sink.spool().map_or(0, |spool| spool.status().damaged);
    output::note(&format!(
        "delivered {}, left in the spool {}, of unknown outcome {}, dead letters {}{}",
        receipt.delivered,
        receipt.spooled,
        receipt.unknown,
        receipt.dead_letters,
        damaged_part(damaged)
    ));
    if !all_ended {
        output::note("requests were cut off after --stop-time");
    }
    Ok(u8::from(!all_ended))
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
