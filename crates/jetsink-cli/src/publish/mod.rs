//! `jetsink publish`: reads JSON lines, publishes them through a pipeline, reports the results.

pub(crate) mod arguments;
mod counts;
mod in_flight;
mod input;
mod limited_reports;
mod metrics;
mod rejected;
mod report;
mod run;
mod saved;
mod settings;
mod summary;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{ConnectCause, ConnectError, NatsPublisher, Sink, WindowSize};
use tokio::time::{Instant, sleep};

use crate::connection::{FIRST_CONNECTION, environment, wait_for_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, LogFrom, to_stderr};
use crate::runtime::{blocking, runtime};
use arguments::Publish;
use input::Input;
use metrics::{MetricsServer, ServedSink};
use rejected::RejectedLines;
use report::Report;
use run::Run;
use settings::Settings;

/// The largest window without `--window`; a pipeline adapts below it.
const MAX_ADAPTIVE_WINDOW: WindowSize = WindowSize::new(4_096).unwrap();

/// The pause before the next attempt to connect at the start.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// The longest attempt to connect at the start.
const MAX_CONNECT: Duration = Duration::from_secs(5);

pub(crate) fn run(arguments: Publish) -> Result<u8, Failure> {
    let settings = Arc::new(Settings::resolve(arguments, environment)?);
    output::start_log(settings.verbose, LogFrom::Warning);
    let runtime = runtime()?;
    let ended = runtime.block_on(publish(&settings));
    // A thread may block in opening or reading a file. It needs no cleanup.
    runtime.shutdown_background();
    ended
}

/// Publishes the input and returns the exit code.
async fn publish(settings: &Arc<Settings>) -> Result<u8, Failure> {
    // Before anything that blocks: a FIFO without a writer, the spool's disk, a server that does not answer.
    let mut signals = Signals::new().map_err(Failure::Runtime)?;
    let served = ServedSink::default();
    if let Some(address) = settings.metrics_listen {
        serve_metrics(address, served.clone()).await?;
    }
    let opening = Arc::clone(settings);
    let opened = tokio::select! {
        opened = blocking(move || open_files(&opening)) => opened?,
        signal = signals.next() => {
            let run = Run::new(settings, Report::new(settings, None), None);
            return Ok(run.end_unstarted_by(signal));
        }
    };
    let (input, rejected) = opened;
    let mut run = Run::new(settings, Report::new(settings, input.total_bytes), rejected);
    if settings.dry_run {
        let interrupt = tokio::select! {
            () = run.check(input) => signals.arrived().await,
            signal = signals.next() => Some(signal),
        };
        return Ok(run.end(interrupt));
    }
    let opened = tokio::select! {
        opened = open_sink(settings, &run.report) => opened,
        signal = signals.next() => return Ok(run.end_unstarted_by(signal)),
    };
    let sink = match opened {
        Err(Failure::Connect(error @ ConnectError::Refused { .. })) => {
            return Ok(run.end_unconnected(&error));
        }
        opened => Arc::new(opened?),
    };
    served.show(&sink);
    let dead_before = sink.spool().map_or(0, |spool| spool.status().dead_letters);
    let pipeline = match settings.window {
        Some(window) => sink.pipeline(window),
        None => sink.pipeline(MAX_ADAPTIVE_WINDOW).adaptive(),
    };
    let pipeline = pipeline.max_outage(settings.max_outage);
    run.publish(input, &sink, pipeline, &mut signals).await;
    if sink.spool().is_some() {
        run.empty_spool(&sink, dead_before, &mut signals).await;
    }
    // A signal may have ended the writer of a pipe, too: then the end of the input is no complete one.
    Ok(run.end(signals.arrived().await))
}

/// Serves the metrics from now on, before anything that may take long: a service manager asks whether the process runs.
async fn serve_metrics(address: SocketAddr, sink: ServedSink) -> Result<(), Failure> {
    let server = MetricsServer::bind(address).await?;
    if address.port() == 0
        && let Ok(assigned) = server.address()
    {
        to_stderr(&format!("jetsink: metrics at http://{assigned}/metrics"));
    }
    tokio::spawn(server.serve(sink));
    Ok(())
}

/// Opens the files to read, and the file of `--rejected`. Blocks on a FIFO without its other end.
fn open_files(settings: &Settings) -> Result<(Input, Option<RejectedLines>), Failure> {
    let input = input::open(settings)?;
    let rejected = settings.rejected.clone().map(RejectedLines::open);
    Ok((input, rejected.transpose()?))
}

/// Opens the sink. With a spool it starts without a connection, otherwise it needs one.
async fn open_sink(settings: &Settings, report: &Report) -> Result<Sink<NatsPublisher>, Failure> {
    let Some(spool) = &settings.spool else {
        let publisher = connect(settings, |error| {
            report.note(&format!(
                "{error}; trying again until --max-outage has passed"
            ));
        })
        .await?;
        return Ok(Sink::new(publisher, settings.sink.clone()));
    };
    let publisher =
        NatsPublisher::connect(settings.connect.clone().start_disconnected(true)).await?;
    wait_for_connection(&publisher).await;
    Ok(Sink::with_spool(publisher, settings.sink.clone(), spool.clone()).await?)
}

/// Connects. A broker that is away is tried again until the maximum outage has passed; `is_away` is called the first time.
///
/// # Errors
/// The last error. A login or a certificate that is refused is not tried again.
async fn connect(
    settings: &Settings,
    is_away: impl Fn(&ConnectError),
) -> Result<NatsPublisher, ConnectError> {
    let started = Instant::now();
    let longest = settings.max_outage.max(FIRST_CONNECTION);
    let mut is_first = true;
    loop {
        let left = longest.saturating_sub(started.elapsed());
        let timeout = left.clamp(CONNECT_AGAIN, MAX_CONNECT);
        let attempt = settings.connect.clone().connect_timeout(timeout)?;
        let error = match NatsPublisher::connect(attempt).await {
            Ok(publisher) => return Ok(publisher),
            Err(error) => error,
        };
        if !may_pass(&error) || started.elapsed() + CONNECT_AGAIN >= settings.max_outage {
            return Err(error);
        }
        if std::mem::take(&mut is_first) {
            is_away(&error);
        }
        sleep(CONNECT_AGAIN).await;
    }
}

/// Whether a later attempt to connect may succeed without a change of the settings.
fn may_pass(error: &ConnectError) -> bool {
    let ConnectError::Refused { cause, .. } = error else {
        return false;
    };
    !matches!(
        cause,
        ConnectCause::LoginRefused
            | ConnectCause::LoginUnusable
            | ConnectCause::UntrustedAuthority
            | ConnectCause::AuthorityAsServer
            | ConnectCause::ServerCertificateRefused
            | ConnectCause::ClientCertificateRequired
            | ConnectCause::ClientCertificateRefused
    )
}
