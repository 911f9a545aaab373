//! Operator calls: read a stream, inspect the account and its streams, create and change streams.
//!
//! They serve the command and other tools. A service that emits events needs none of them, and no event
//! passes here: [`Sink`](crate::Sink) never uses this folder. [`Admin`] uses the publisher's connection.
//!
//! `inspect` asks questions that change nothing, `reader`, `gets` and `query` read a stream, `streams` plans and
//! applies changes of a stream. `offline_spool` reads and clears a spool that no sink has open.

mod gets;
mod inspect;
pub(crate) mod offline_spool;
pub(crate) mod query;
pub(crate) mod reader;
pub(crate) mod streams;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::nats::NatsPublisher;
use crate::nats::api::ask;
use crate::nats::question::Question;
use crate::outcome::RequestError;

/// The operator calls of a publisher, by [`NatsPublisher::admin`].
///
/// | call | changes something |
/// | --- | --- |
/// | [`account_info`](Self::account_info), [`stream_names`](Self::stream_names), [`stream_info`](Self::stream_info), [`check_publish`](Self::check_publish), [`check_size`](Self::check_size), [`plan_stream`](Self::plan_stream) | no |
/// | [`read_stream`](Self::read_stream) | creates an ephemeral consumer |
/// | [`apply_stream`](Self::apply_stream) | creates or changes a stream |
///
/// Each request takes at most 2 seconds and is sent over the current connection; without one it fails with
/// [`RequestError::NotConnected`]. Dropping a future gives up the wait.
///
/// ```no_run
/// use jetsink::{ConnectSettings, NatsPublisher, StreamName};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = NatsPublisher::connect(ConnectSettings::new("nats://127.0.0.1:4222")?).await?;
/// let admin = publisher.admin();
/// for stream in admin.stream_names("cellos.events.>").await? {
///     let info = admin.stream_info(&stream).await?;
///     println!("{stream}: {} messages", info["state"]["messages"]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    publisher: &'a NatsPublisher,
}

impl NatsPublisher {
    /// Returns the operator calls: read a stream, inspect the account, create and change streams.
    ///
    /// ```no_run
    /// # async fn example(publisher: &jetsink::NatsPublisher) -> Result<(), Box<dyn std::error::Error>> {
    /// let info = publisher.admin().stream_info(&"EVENTS".parse()?).await?;
    /// println!("{}", info["config"]["subjects"]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn admin(&self) -> Admin<'_> {
        Admin { publisher: self }
    }
}

impl Admin<'_> {
    async fn ask<T: DeserializeOwned>(
        self,
        question: Question<'_>,
        details: &Value,
    ) -> Result<T, RequestError> {
        let shared = self.publisher.shared();
        let session = shared.session().ok_or(RequestError::NotConnected)?;
        Ok(ask(shared, &session, question, details).await?)
    }
}
