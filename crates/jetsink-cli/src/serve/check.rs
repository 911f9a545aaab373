//! `jetsink serve --check`: everything up to the start, without opening a listener, a spool or a connection.

use std::sync::Arc;

use jetsink::{NatsPublisher, Sink};
use jetsink_serve::Gateway;

use super::arguments::Serve;
use super::settings::{Settings, wrong_connection};
use crate::failure::Failure;
use crate::output;

/// Checks the settings, and prints each with its source.
pub(super) async fn check(arguments: &Serve, settings: Settings) -> Result<u8, Failure> {
    // Reads the login's files. Its task has not begun when it is dropped.
    let publisher = NatsPublisher::connect(settings.connect).await;
    let publisher = publisher.map_err(|error| wrong_connection(arguments, error))?;
    let sink = Arc::new(Sink::new(publisher, settings.sink));
    let gateway = Gateway::new(sink, settings.routes, settings.gateway);
    let gateway = arguments.valid("route", gateway)?;
    for address in arguments.addresses(!arguments.listen_unix.is_empty()) {
        let access = gateway.access();
        let checked = settings
            .server
            .check(address, settings.tls.is_some(), access);
        arguments.valid("listen", checked)?;
    }
    for setting in &arguments.settings {
        output::print(&setting.to_string());
    }
    output::note("the settings are valid");
    Ok(0)
}
