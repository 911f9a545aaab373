//! `jetsink publish`: reads JSON lines, publishes them through a pipeline, reports the results.

pub(crate) mod arguments;
mod counts;
mod input;
mod metrics;
mod rejected;
mod report;
mod run;
mod settings;
mod summary;

use std::num::NonZeroUsize;
use std::sync::Arc;

use jetsink::{NatsPublisher, Sink};

use crate::connection::{environment, wait_for_connection};
use crate::failure::Failure;
use crate::output;
use crate::runtime::runtime;
use arguments::Publish;
use input::Input;
use metrics::MetricsServer;
use report::Report;
use run::Run;
use settings::Settings;

/// The largest window without `--window`; a pipeline adapts below it.
const MAX_ADAPTIVE_WINDOW: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

pub(crate) fn run(arguments: Publish) -> Result<u8, Failure> {
    let settings = Settings::resolve(arguments, environment)?;
    output::start_log(settings.verbose, settings.show_progress || settings.quiet);
    let input = input::open(&settings)?;
    let report = Report::new(&settings, input.total_bytes);
    let runtime = runtime()?;
    let code = runtime.block_on(publish(&settings, input, report))?;
    // The reading thread may block in a read of standard input. It needs no cleanup.
    runtime.shutdown_background();
    Ok(code)
}

/// Publishes the input and returns the exit code.
async fn publish(settings: &Settings, input: Input, report: Report) -> Result<u8, Failure> {
    let mut run = Run::new(settings, report)?;
    if settings.dry_run {
        run.check(input).await?;
        return run.finish();
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
    let dead_before = sink.spool_status().map_or(0, |spool| spool.dead_letters);
    let pipeline = match settings.window {
        Some(window) => sink.pipeline(window),
        None => sink.pipeline(MAX_ADAPTIVE_WINDOW).adaptive(),
    };
    let pipeline = pipeline.max_outage(settings.max_outage);
    run.publish(input, &sink, pipeline).await?;
    if sink.has_spool() {
        run.empty_spool(&sink, dead_before).await?;
    }
    run.finish()
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
