//! `jetsink serve --check`: everything up to the start, without opening a listener, a spool or a connection.

use std::sync::Arc;

use jetsink::{NatsPublisher, Sink};
use jetsink_serve::Gateway;

use super::arguments::Serve;
use super::settings::Settings;
use crate::failure::Failure;
use crate::output;

/// Checks the settings, and prints each with its source.
pub(super) async fn check(arguments: &Serve, settings: Settings) -> Result<u8, Failure> {
    // Reads the login's files. Its task has not begun when it is dropped.
    let publisher = NatsPublisher::connect(settings.connect).await?;
    let sink = Arc::new(Sink::new(publisher, settings.sink));
    let gateway = Gateway::new(sink, settings.routes, settings.gateway)?;
    for address in arguments.addresses(!arguments.listen_unix.is_empty()) {
        let access = gateway.access();
        settings
            .server
            .check(address, settings.tls.is_some(), access)?;
    }
    for setting in &arguments.settings {
        output::print(&setting.to_string());
    }
    output::note("the settings are valid");
    Ok(0)
}
