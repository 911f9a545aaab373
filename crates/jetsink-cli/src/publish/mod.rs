//! `jetsink publish`: reads JSON lines, publishes them through a pipeline, reports the results.

pub(crate) mod arguments;
mod counts;
mod input;
mod metrics;
mod rejected;
mod report;
mod run;
mod saved;
mod settings;
mod summary;

use std::num::NonZeroUsize;
use std::sync::Arc;

use jetsink::{NatsPublisher, Sink};

use crate::connection::{environment, wait_for_connection};
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, LogFrom};
use crate::runtime::{blocking, runtime};
use arguments::Publish;
use input::Input;
use metrics::MetricsServer;
use rejected::RejectedLines;
use report::Report;
use run::Run;
use settings::Settings;

/// The largest window without `--window`; a pipeline adapts below it.
const MAX_ADAPTIVE_WINDOW: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

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
    let start = tokio::select! {
        started = start(settings) => started?,
        signal = signals.next() => {
            return Run::new(settings, Report::new(settings, None), None).end_by(signal);
        }
    };
    let Start {
        mut run,
        input,
        sink,
    } = start;
    let Some(sink) = sink else {
        let interrupt = tokio::select! {
            checked = run.check(input) => checked.map(|()| None)?,
            signal = signals.next() => Some(signal),
        };
        return match interrupt {
            None => run.finish(),
            Some(signal) => run.end_by(signal),
        };
    };
    let dead_before = sink.spool_status().map_or(0, |spool| spool.dead_letters);
    let pipeline = match settings.window {
        Some(window) => sink.pipeline(window),
        None => sink.pipeline(MAX_ADAPTIVE_WINDOW).adaptive(),
    };
    let pipeline = pipeline.max_outage(settings.max_outage);
    run.publish(input, &sink, pipeline, &mut signals).await?;
    if sink.has_spool() {
        run.empty_spool(&sink, dead_before, &mut signals).await?;
    }
    run.finish()
}

/// A run that is ready to read.
struct Start<'a> {
    run: Run<'a>,
    input: Input,
    /// `None` with `--dry-run`.
    sink: Option<Arc<Sink<NatsPublisher>>>,
}

/// Opens the input and the sink.
async fn start(settings: &Arc<Settings>) -> Result<Start<'_>, Failure> {
    let opening = Arc::clone(settings);
    let (input, rejected) = blocking(move || open_files(&opening)).await?;
    let run = Run::new(settings, Report::new(settings, input.total_bytes), rejected);
    if settings.dry_run {
        let sink = None;
        return Ok(Start { run, input, sink });
    }
    let metrics = match settings.metrics_listen {
        None => None,
        Some(address) => {
            let metrics = MetricsServer::bind(address).await?;
            if address.port() == 0
                && let Ok(assigned) = metrics.address()
            {
                run.report.metrics_at(assigned);
            }
            Some(metrics)
        }
    };
    let sink = Arc::new(open_sink(settings).await?);
    if let Some(metrics) = metrics {
        tokio::spawn(metrics.serve(Arc::clone(&sink)));
    }
    let sink = Some(sink);
    Ok(Start { run, input, sink })
}

/// Opens the files to read, and the file of `--rejected`. Blocks on a FIFO without its other end.
fn open_files(settings: &Settings) -> Result<(Input, Option<RejectedLines>), Failure> {
    let input = input::open(settings)?;
    let rejected = settings.rejected.clone().map(RejectedLines::open);
    Ok((input, rejected.transpose()?))
}

/// Opens the sink. With a spool it starts without a connection, otherwise it needs one.
async fn open_sink(settings: &Settings) -> Result<Sink<NatsPublisher>, Failure> {
    let Some(spool) = &settings.spool else {
        let publisher = NatsPublisher::connect(settings.connect.clone()).await?;
        return Ok(Sink::new(publisher, settings.sink.clone()));
    };
    let publisher = NatsPublisher::connect(settings.connect.clone().start_disconnected()).await?;
    wait_for_connection(&publisher).await;
    Ok(Sink::with_spool(publisher, settings.sink.clone(), spool.clone()).await?)
}
