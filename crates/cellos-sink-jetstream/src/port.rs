//! What carries the envelopes: NATS, or a script of a test's.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cellos_core::CellosError;
use jetsink::{
    Acknowledgement, Connection, EachAlone, Envelope, Known, NatsPublisher, PublishError, Scope,
    StoredIds, Subject, Window,
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
                    // The trait can't say more, so the worst that an error can mean.
                    Err(error) => Err(PublishError::Other {
                        text: error.to_string(),
                        scope: Scope::Broker,
                        known: Known::OutcomeUnknown,
                    }),
                }
            }
        }
    }

    async fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        match self {
            Self::Nats(publisher) => publisher.publish_over(connection, envelope, deadline).await,
            Self::Scripted(_) => self.publish(envelope, deadline).await,
        }
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        match self {
            Self::Nats(publisher) => publisher.window(connection),
            Self::Scripted(_) => Box::new(EachAlone::new(self, connection)),
        }
    }

    async fn stored_ids(
        &self,
        subjects: &[Subject],
        after: &HashMap<String, u64>,
        visit: &mut (dyn FnMut(&str) + Send),
    ) -> Result<StoredIds, PublishError> {
        match self {
            Self::Nats(publisher) => publisher.stored_ids(subjects, after, visit).await,
            Self::Scripted(_) => Ok(StoredIds::Unsupported),
        }
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        match self {
            Self::Nats(publisher) => publisher.connection(),
            Self::Scripted(_) => None,
        }
    }
}
