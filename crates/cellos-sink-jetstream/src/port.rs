//! The publisher under the sink: NATS, or the script of a test.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cellos_core::CellosError;
use jetsink::{
    Acknowledgement, Baselines, ConnectionState, Envelope, Known, NatsPublisher, PerMessageWindow,
    PublishError, Scope, StoredId, StoredIds, Window,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// For tests: publishes one payload.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes `payload` to `subject`; `Ok` means stored.
    async fn publish(&self, subject: String, payload: Bytes) -> Result<(), CellosError>;
}

pub(crate) enum Port {
    Nats(NatsPublisher),
    Scripted(Arc<dyn Publisher>),
}

impl jetsink::Publisher for Port {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        match self {
            Self::Nats(publisher) => publisher.publish(envelope, deadline).await,
            Self::Scripted(publisher) => {
                let subject = envelope.subject().to_string();
                match publisher.publish(subject, envelope.payload().clone()).await {
                    Ok(()) => Ok(Acknowledgement::new("scripted", 1)),
                    // The trait's error says no more, so assume the worst case.
                    Err(error) => Err(PublishError::other(
                        error.to_string(),
                        Scope::Broker,
                        Known::OutcomeUnknown,
                    )),
                }
            }
        }
    }

    fn enforces_deadline(&self) -> bool {
        match self {
            Self::Nats(publisher) => publisher.enforces_deadline(),
            Self::Scripted(_) => false,
        }
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        match self {
            Self::Nats(publisher) => publisher.window(connection),
            Self::Scripted(_) => Box::new(PerMessageWindow::new(self)),
        }
    }

    async fn stored_ids(
        &self,
        events: &[Envelope],
        after: &Baselines,
        visit: &mut (dyn FnMut(StoredId<'_>) + Send),
    ) -> Result<StoredIds, PublishError> {
        match self {
            Self::Nats(publisher) => publisher.stored_ids(events, after, visit).await,
            Self::Scripted(_) => Ok(StoredIds::Unsupported),
        }
    }

    async fn stream_created(
        &self,
        stream: &str,
        domain: Option<&str>,
    ) -> Result<Option<String>, PublishError> {
        match self {
            Self::Nats(publisher) => publisher.stream_created(stream, domain).await,
            Self::Scripted(_) => Ok(None),
        }
    }

    fn request_failover(&self) {
        match self {
            Self::Nats(publisher) => publisher.request_failover(),
            Self::Scripted(_) => {}
        }
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        match self {
            Self::Nats(publisher) => publisher.connection(),
            Self::Scripted(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a panic is how a test fails

    use jetsink::{ConnectSettings, Publisher as _};
    use nats_local::NatsServer;

    use super::*;

    #[tokio::test]
    async fn the_port_keeps_deadlines_as_its_publisher_does() {
        let server = NatsServer::start().await.unwrap();
        let settings = ConnectSettings::new(&server.url()).unwrap();
        let publisher = NatsPublisher::connect(settings).await.unwrap();
        let keeps = publisher.enforces_deadline();
        assert!(keeps);
        assert_eq!(Port::Nats(publisher).enforces_deadline(), keeps);
    }
}
