//! Follows the publisher's connection: its changes move the broker's circuit and the metrics.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::admission::Scopes;
use crate::publisher::ConnectionState;

/// Runs until the publisher is dropped.
pub(super) fn follow(
    mut connection: watch::Receiver<ConnectionState>,
    scopes: Arc<Scopes>,
) -> impl Future<Output = ()> + Send {
    let mut last = *connection.borrow_and_update();
    async move {
        let mut counted = Counted::new(&scopes);
        counted.follow(last);
        if !last.up {
            scopes.disconnected(Instant::now());
        }
        while connection.changed().await.is_ok() {
            let current = *connection.borrow_and_update();
            counted.follow(current);
            if !current.up {
                scopes.disconnected(Instant::now());
            } else if current.signs_of_life != last.signs_of_life {
                scopes.sign_of_life(Instant::now());
            }
            last = current;
        }
    }
}

/// The connection in the metrics; removed from them on drop.
struct Counted<'a> {
    scopes: &'a Scopes,
    number: Option<u64>,
}

impl<'a> Counted<'a> {
    fn new(scopes: &'a Scopes) -> Self {
        Self {
            scopes,
            number: None,
        }
    }

    fn follow(&mut self, connection: ConnectionState) {
        let number = connection.up.then_some(connection.number);
        if number == self.number {
            return;
        }
        let meters = &self.scopes.history().meters;
        if self.number.take().is_some() {
            meters.disconnected();
        }
        if number.is_some() {
            meters.connected();
        }
        self.number = number;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.scopes.history().meters.disconnected();
        }
    }
}
