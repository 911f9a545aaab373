//! A broker that is away until it comes.

use tokio::sync::watch;
use tokio::time::Instant;

use jetsink::{
    Acknowledgement, ConnectionState, Envelope, NatsPublisher, PublishError, Publisher, Window,
};

/// A publisher that is disconnected until [`come`](Self::come), without a server to kill.
pub struct Late {
    publisher: NatsPublisher,
    connection: watch::Sender<ConnectionState>,
}

impl Late {
    pub fn new(publisher: NatsPublisher) -> Self {
        let connection = watch::Sender::new(ConnectionState::default());
        Self {
            publisher,
            connection,
        }
    }

    pub fn come(&self) {
        let theirs = self.publisher.connection().unwrap();
        let mut theirs = *theirs.borrow();
        theirs.signs_of_life += 1;
        self.connection.send_replace(theirs);
    }
}

impl Publisher for Late {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        if self.connection.borrow().up {
            self.publisher.publish(envelope, deadline).await
        } else {
            Err(PublishError::NotConnected)
        }
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        self.publisher.window(connection)
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        Some(self.connection.subscribe())
    }
}
