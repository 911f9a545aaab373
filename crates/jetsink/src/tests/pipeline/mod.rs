//! The pipeline over a simulated broker, in paused time: connections that end and lose a tail of the sent
//! messages, and acknowledgements that get lost.

mod order;
mod outages;
mod retries;

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::outcome::{Acknowledgement, EmitError, PublishError};
use crate::publish::settings::SinkSettings;
use crate::publisher::window::Window;
use crate::publisher::window::WindowSize;
use crate::publisher::{ConnectionState, PerMessageWindow, Publisher};
use crate::sink::Sink;
use crate::{Envelope, Subject};

/// The fate of one message.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Acknowledged {
        after: u64,
    },
    /// The connection ends: this message is stored or not, later ones on it are not, and the failure is
    /// reported late.
    EndsConnection {
        stored: bool,
        news_after: u64,
    },
    /// The stream refuses it, and the connection stays.
    Refused {
        transient: bool,
    },
    /// It is not sent: another message has to be alone in flight.
    HeldBack,
}

/// The subject whose messages are all refused.
const REFUSED: &str = "refused";

struct Broker {
    fates: VecDeque<Fate>,
    ids: HashSet<String>,
    stream: Vec<String>,
    connection: watch::Sender<ConnectionState>,
    outage: Option<Outage>,
}

/// At these times the subjects that begin with `a` have no stream that takes a message; each fails with this error.
struct Outage {
    during: Vec<Range<Instant>>,
    error: PublishError,
}

#[derive(Clone)]
struct Simulated(Arc<Mutex<Broker>>);

impl Simulated {
    fn with(fates: impl IntoIterator<Item = Fate>) -> Self {
        let up = ConnectionState {
            up: true,
            ..ConnectionState::default()
        };
        Self(Arc::new(Mutex::new(Broker {
            fates: fates.into_iter().collect(),
            ids: HashSet::new(),
            stream: Vec::new(),
            connection: watch::Sender::new(up),
            outage: None,
        })))
    }

    /// Lets the subjects that begin with `a` fail with this error until then.
    fn fails_until(&self, until: Instant, error: PublishError) {
        let during = vec![Instant::now()..until];
        self.0.lock().unwrap().outage = Some(Outage { during, error });
    }

    fn stream(&self) -> Vec<String> {
        self.0.lock().unwrap().stream.clone()
    }

    /// The result of a message, and the milliseconds until it comes.
    fn receive(
        &self,
        envelope: &Envelope,
        connection: u64,
    ) -> (u64, Result<Acknowledgement, PublishError>) {
        let mut broker = self.0.lock().unwrap();
        let current = *broker.connection.borrow();
        if !current.up || current.number != connection {
            return (0, Err(PublishError::NotConnected));
        }
        if envelope.subject().as_str() == REFUSED {
            return (0, Err(PublishError::PermissionDenied));
        }
        if let Some(outage) = &broker.outage
            && outage.during.iter().any(|of| of.contains(&Instant::now()))
            && envelope.subject().as_str().starts_with('a')
        {
            return (0, Err(outage.error.clone()));
        }
        let fate = broker.fates.pop_front();
        let mut store = || {
            if broker
                .ids
                .insert(envelope.message_id().unwrap().to_string())
            {
                let text = String::from_utf8(envelope.payload().to_vec()).unwrap();
                broker.stream.push(text);
            }
            broker.stream.len() as u64
        };
        match fate.unwrap_or(Fate::Acknowledged { after: 0 }) {
            Fate::Acknowledged { after } => (after, Ok(Acknowledgement::new("S", store()))),
            Fate::EndsConnection { stored, news_after } => {
                if stored {
                    store();
                }
                broker.connection.send_modify(|c| c.up = false);
                let connection = broker.connection.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(2)).await;
                    connection.send_modify(|c| {
                        c.up = true;
                        c.number += 1;
                        c.signs_of_life += 1;
                    });
                });
                (news_after, Err(PublishError::ConnectionLost))
            }
            Fate::HeldBack => (0, Err(PublishError::HeldBack)),
            Fate::Refused { transient: true } => (0, Err(PublishError::NoStream)),
            Fate::Refused { transient: false } => (0, Err(PublishError::PermissionDenied)),
        }
    }
}

impl Simulated {
    async fn publish_over(
        &self,
        connection: u64,
        envelope: &Envelope,
        _: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let (after, result) = self.receive(envelope, connection);
        if after > 0 {
            sleep(Duration::from_millis(after)).await;
        }
        result
    }
}

impl Publisher for Simulated {
    async fn publish(
        &self,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let number = self.0.lock().unwrap().connection.borrow().number;
        self.publish_over(number, envelope, deadline).await
    }

    fn window(&self, connection: Option<u64>) -> Box<dyn Window + '_> {
        let Some(number) = connection else {
            return Box::new(PerMessageWindow::new(self));
        };
        Box::new(PerMessageWindow::with(
            move |envelope, deadline| async move {
                self.publish_over(number, &envelope, deadline).await
            },
        ))
    }

    fn connection(&self) -> Option<watch::Receiver<ConnectionState>> {
        Some(self.0.lock().unwrap().connection.subscribe())
    }
}

fn sink(broker: &Simulated) -> Sink<Simulated> {
    Sink::new(broker.clone(), SinkSettings::default())
}

fn envelope(number: usize) -> Envelope {
    let subject = Subject::new("a").unwrap();
    Envelope::new(subject, number.to_string().into())
}

async fn send(sink: &Sink<Simulated>, count: usize, window: usize) -> Vec<Result<(), EmitError>> {
    send_all(sink, (0..count).map(envelope), window, Duration::MAX).await
}

async fn send_all(
    sink: &Sink<Simulated>,
    mut events: impl Iterator<Item = Envelope>,
    window: usize,
    max_outage: Duration,
) -> Vec<Result<(), EmitError>> {
    let window = WindowSize::new(window).unwrap();
    let mut pipeline = sink.pipeline(window).max_outage(max_outage);
    let mut results = Vec::new();
    loop {
        while pipeline.has_room()
            && let Some(event) = events.next()
        {
            pipeline.push(event).unwrap();
        }
        match pipeline.next().await {
            Some(result) => results.push(result.map(drop)),
            None => return results,
        }
    }
}

fn in_order(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}
