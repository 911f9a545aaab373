//! Connects to the first of several servers that accepts, as RFC 8305 does for addresses: an attempt begins
//! when an earlier one fails, or shortly after it. No attempt waits for the end of another, so servers
//! that do not answer cost no time.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::Instrument as _;

use super::connect::{ConnectError, ConnectSettings, Target, reconnect_delay};
use super::link::Link;
use super::session::Session;
use crate::observe::spans;

/// The time between the beginnings of two attempts, unless an earlier one fails (RFC 8305: 100 ms to 2 s).
const STAGGER: Duration = Duration::from_millis(100);

/// The maximum number of addresses of one name that are tried by themselves.
const MAX_ADDRESSES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tries {
    Once,
    /// Each server again and again, until one accepts.
    Endless,
}

/// The servers to connect to, and the conditions.
pub(crate) struct Dial<'a> {
    pub(crate) settings: &'a ConnectSettings,
    pub(crate) link: &'a Arc<Link>,
    pub(crate) tries: Tries,
    /// Sessions for which this returns false are closed, and count as failures.
    pub(crate) accept: &'a (dyn Fn(&Session) -> bool + Sync),
    /// Called for each failure: the server, the number of its attempts, and the error.
    pub(crate) failed: &'a (dyn Fn(&Target, usize, &ConnectError) + Sync),
}

enum Step {
    Connected(Arc<Session>),
    Failed(ConnectError),
    /// A name has several addresses.
    Resolved(Vec<Target>),
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Step> + Send + 'a>>;

impl Dial<'_> {
    /// Opens a session with the first server that accepts.
    ///
    /// # Errors
    /// The last error, if each server is tried once and none accepts.
    pub(crate) async fn first(&self, targets: Vec<Target>) -> Result<Arc<Session>, ConnectError> {
        let failures = watch::Sender::new(0);
        let mut attempts: FuturesUnordered<Attempt<'_>> = FuturesUnordered::new();
        let mut begun = 0;
        for target in targets {
            if let Some((host, port)) = target.name() {
                attempts.push(Box::pin(self.resolve(target.clone(), host, port)));
            }
            let turn = self.turn(begun, &failures);
            attempts.push(Box::pin(self.attempt(target, turn, &failures)));
            begun += 1;
        }
        let mut last_error = self.settings.timed_out();
        while let Some(step) = attempts.next().await {
            match step {
                Step::Connected(session) => return Ok(session),
                Step::Failed(error) => last_error = error,
                Step::Resolved(targets) => {
                    for target in targets {
                        let turn = self.turn(begun, &failures);
                        attempts.push(Box::pin(self.attempt(target, turn, &failures)));
                        begun += 1;
                    }
                }
            }
        }
        Err(last_error)
    }

    /// Waits until an attempt may begin behind `earlier` others.
    fn turn(
        &self,
        earlier: u32,
        failures: &watch::Sender<u32>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut failures = failures.subscribe();
        async move {
            tokio::select! {
                () = sleep(STAGGER * earlier) => {}
                _ = failures.wait_for(|failures| *failures >= earlier) => {}
            }
        }
    }

    async fn attempt(
        &self,
        target: Target,
        turn: impl Future<Output = ()>,
        failures: &watch::Sender<u32>,
    ) -> Step {
        turn.await;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let open = Session::open(self.settings, &target, self.link);
            let error = match open.instrument(spans::connect(attempts)).await {
                Ok(session) if (self.accept)(&session) => return Step::Connected(session),
                Ok(session) => {
                    session.close();
                    self.settings.timed_out()
                }
                Err(error) => {
                    (self.failed)(&target, attempts, &error);
                    error
                }
            };
            if attempts == 1 {
                failures.send_modify(|failures| *failures += 1);
            }
            match self.tries {
                Tries::Once => return Step::Failed(error),
                Tries::Endless => sleep(reconnect_delay(attempts + 1)).await,
            }
        }
    }

    /// Finds the addresses of a name. If there are several, the attempt by name would try one after another.
    async fn resolve(&self, target: Target, host: String, port: u16) -> Step {
        let found = match lookup_host((host, port)).await {
            Ok(addresses) => distinct(addresses),
            // The attempt by name reports it.
            Err(_) => Vec::new(),
        };
        let targets = found.iter().filter(|_| found.len() > 1);
        let targets = targets.filter_map(|address| target.at(*address));
        Step::Resolved(targets.collect())
    }
}

/// Returns distinct addresses, the two families in turn.
fn distinct(addresses: impl Iterator<Item = SocketAddr>) -> Vec<IpAddr> {
    let mut families = [Vec::new(), Vec::new()];
    for address in addresses.map(|address| address.ip()) {
        let family = &mut families[usize::from(address.is_ipv4())];
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let [mut v6, mut v4] = families.map(Vec::into_iter);
    let mut in_turn = Vec::new();
    loop {
        let length = in_turn.len();
        in_turn.extend(v6.next());
        in_turn.extend(v4.next());
        if in_turn.len() == length || length >= MAX_ADDRESSES {
            in_turn.truncate(MAX_ADDRESSES);
            return in_turn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct_and_their_families_alternate() {
        let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.1", "::1", "10.0.0.3"];
        let addresses = addresses.map(|text| SocketAddr::new(text.parse().unwrap(), 4222));
        let texts: Vec<String> = distinct(addresses.into_iter())
            .iter()
            .map(IpAddr::to_string)
            .collect();
        assert_eq!(texts, ["::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let many = (0..100_u8).map(|n| SocketAddr::from(([10, 0, 0, n], 1)));
        assert_eq!(distinct(many).len(), MAX_ADDRESSES);
    }
}
