//! The ways as a program would go them, through async-nats.

use std::collections::VecDeque;
use std::ops::Range;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::{Client, HeaderMap, Message, Subscriber, jetstream};
use async_nats_of_extra as extra_nats;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use jetstream_extra::batch_publish_fast::FastPublishExt as _;

use crate::broker::{Broker, PAYLOAD_BYTES, stream};
use crate::report::{Row, Sample, print};
use crate::{Args, Result};

const SUBJECT: &str = "events.acme";

#[derive(Debug, Clone, Copy)]
enum Way {
    /// `Context::publish`, and its future for each ack.
    Context { window: usize },
    /// Over the same client with an inbox of ours, as `nats/window.rs` does it.
    Inbox { window: u64 },
    /// jetstream-extra, over the async-nats that it needs.
    Extra { flow: u16, acks: u16, ids: bool },
    /// Fast ingest's protocol over our client.
    Fast { flow: u64, acks: u64, ids: bool },
    /// Atomic batches over our client.
    Atomic { size: u64, in_flight: u64 },
}

impl Way {
    fn name(self) -> String {
        let ids = |ids| if ids { "" } else { ", no ids" };
        match self {
            Self::Context { window } => format!("A async-nats, window {window}"),
            Self::Inbox { window } => format!("A inbox of ours, window {window}"),
            Self::Extra {
                flow,
                acks,
                ids: with,
            } => {
                format!("B jetstream-extra, {flow} × {acks}{}", ids(with))
            }
            Self::Fast {
                flow,
                acks,
                ids: with,
            } => {
                format!("B fast ingest, our client, {flow} × {acks}{}", ids(with))
            }
            Self::Atomic { size, in_flight } => {
                format!("C atomic batches of {size}, {in_flight} in flight")
            }
        }
    }
}

fn ways() -> Vec<Way> {
    let mut ways = vec![];
    ways.extend([512, 1_024, 4_096].map(|window| Way::Context { window }));
    ways.extend([512, 1_024, 4_096].map(|window| Way::Inbox { window }));
    for ids in [true, false] {
        for (flow, acks) in [(100, 2), (500, 2), (500, 3)] {
            ways.push(Way::Extra { flow, acks, ids });
            let (flow, acks) = (flow.into(), acks.into());
            ways.push(Way::Fast { flow, acks, ids });
        }
    }
    for (size, in_flight) in [(100, 10), (1_000, 2), (1_000, 4)] {
        ways.push(Way::Atomic { size, in_flight });
    }
    ways
}

/// The best of A, as a rule.
const BASE: Way = Way::Inbox { window: 1_024 };

pub(crate) async fn measure(args: &Args) -> Result<()> {
    let mut rows = Vec::new();
    for way in ways() {
        let name = way.name();
        if args.wants(&name) {
            rows.push((Row::new(name), way));
        }
    }
    for _ in 0..args.rounds {
        for (row, way) in &mut rows {
            row.samples
                .push((one(BASE, args.events).await?, one(*way, args.events).await?));
        }
    }
    let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    print(
        &format!(
            "Ways in, events of {PAYLOAD_BYTES} bytes to a stream in files; {} events, {} rounds; base: {}",
            args.events,
            args.rounds,
            BASE.name()
        ),
        &rows,
    );
    Ok(())
}

async fn one(way: Way, events: u64) -> Result<Sample> {
    let broker = Broker::start("", stream()).await?;
    let url = broker.server.url();
    let warm_up = events / 10;
    let (first, then) = (0..warm_up, warm_up..warm_up + events);
    let watch;
    match way {
        Way::Context { window } => {
            let context = jetstream::new(async_nats::connect(url).await?);
            with_context(&context, first, window).await?;
            watch = broker.watch()?;
            with_context(&context, then, window).await?;
        }
        Way::Extra { flow, acks, ids } => {
            let context = extra_nats::jetstream::new(extra_nats::connect(url).await?);
            with_extra(&context, first, flow, acks, ids).await?;
            watch = broker.watch()?;
            with_extra(&context, then, flow, acks, ids).await?;
        }
        Way::Inbox { .. } | Way::Fast { .. } | Way::Atomic { .. } => {
            let client = async_nats::connect(url).await?;
            over_inbox(&client, way, first).await?;
            watch = broker.watch()?;
            over_inbox(&client, way, then).await?;
        }
    }
    let sample = watch.stop(events)?;
    broker.expect_stored(warm_up + events, &way.name()).await?;
    Ok(sample)
}

fn payload() -> Bytes {
    Bytes::from(vec![b'x'; PAYLOAD_BYTES])
}

async fn with_context(
    context: &jetstream::Context,
    numbers: Range<u64>,
    window: usize,
) -> Result<()> {
    let payload = payload();
    let mut in_flight: VecDeque<PublishAckFuture> = VecDeque::with_capacity(window);
    for number in numbers {
        if in_flight.len() >= window
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await?;
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("bench.{number}"));
        let publish = context.publish_with_headers(SUBJECT, headers, payload.clone());
        in_flight.push_back(publish.await?);
    }
    for ack in in_flight {
        ack.await?;
    }
    Ok(())
}

async fn with_extra(
    context: &extra_nats::jetstream::Context,
    numbers: Range<u64>,
    flow: u16,
    acks: u16,
    ids: bool,
) -> Result<()> {
    let payload = payload();
    let fast = context.fast_publish().flow(flow).max_outstanding_acks(acks);
    let mut fast = fast.build()?;
    let (last, events) = (numbers.end - 1, numbers.end - numbers.start);
    for number in numbers {
        let headers = ids.then(|| {
            let mut headers = extra_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("bench.{number}"));
            headers
        });
        let message = extra_nats::jetstream::message::OutboundMessage {
            subject: SUBJECT.into(),
            payload: payload.clone(),
            headers,
        };
        if number == last {
            let ack = fast.commit_message(message).await?;
            return match ack.batch_size {
                stored if stored == events => Ok(()),
                stored => Err(format!("{stored} stored of {events}").into()),
            };
        }
        fast.add_message(message).await?;
    }
    Ok(())
}

/// What is open, in events: how far the answers reach, and how far past them to send.
struct Window {
    settled: u64,
    ahead: u64,
    answers: Subscriber,
}

impl Window {
    fn answered(&mut self, message: &Message, way: Way) -> Result<()> {
        let text = std::str::from_utf8(&message.payload)?;
        if text.contains("\"error\"") || text.contains("\"duplicate\"") || text.is_empty() {
            return Err(format!("{text} {:?}", message.status).into());
        }
        let number = |name: &str| -> Option<u64> {
            let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        match way {
            Way::Fast { acks, .. } if text.contains("\"type\":\"ack\"") => {
                self.settled = self.settled.max(number("seq").unwrap_or(0));
                self.ahead = number("msgs").unwrap_or(1) * acks;
            }
            Way::Fast { .. } => self.settled = number("count").ok_or("no count")?,
            Way::Atomic { .. } => self.settled += number("count").ok_or("no count")?,
            _ => self.settled += number("seq").map(|_| 1).ok_or("no sequence")?,
        }
        Ok(())
    }

    /// Takes what is there, and waits only where it must.
    async fn await_settled(&mut self, way: Way, enough: u64) -> Result<()> {
        loop {
            let message = match self.answers.next().now_or_never() {
                Some(message) => message,
                None if self.settled >= enough => return Ok(()),
                None => self.answers.next().await,
            };
            self.answered(&message.ok_or("the subscription ended")?, way)?;
        }
    }
}

async fn over_inbox(client: &Client, way: Way, numbers: Range<u64>) -> Result<()> {
    let payload = payload();
    let inbox = client.new_inbox();
    let mut window = Window {
        settled: 0,
        ahead: match way {
            Way::Inbox { window } => window,
            Way::Atomic { size, in_flight } => size * in_flight,
            // Until the first is answered.
            _ => 1,
        },
        answers: client.subscribe(format!("{inbox}.>")).await?,
    };
    let (from, events) = (numbers.start, numbers.end - numbers.start);
    for sent in 0..events {
        if sent == 1 && matches!(way, Way::Fast { .. }) {
            let first = window.answers.next().await.ok_or("no first answer")?;
            window.answered(&first, way)?;
        }
        let number = from + sent;
        if sent >= window.settled + window.ahead || sent % 64 == 0 {
            let enough = (sent + 1).saturating_sub(window.ahead);
            window.await_settled(way, enough).await?;
        }
        let last = sent + 1 == events;
        let mut headers = HeaderMap::new();
        if !matches!(way, Way::Fast { ids: false, .. }) {
            headers.insert("Nats-Msg-Id", format!("bench.{number}"));
        }
        let reply = match way {
            Way::Fast { flow, .. } => {
                let operation = if last { 2 } else { u8::from(sent > 0) };
                Some(format!("{inbox}.{flow}.fail.{}.{operation}.$FI", sent + 1))
            }
            Way::Atomic { size, .. } => {
                let (batch, place) = (sent / size, sent % size + 1);
                headers.insert("Nats-Batch-Id", format!("{from}-{batch}"));
                headers.insert("Nats-Batch-Sequence", place.to_string());
                let ends = place == size || last;
                ends.then(|| {
                    headers.insert("Nats-Batch-Commit", "1");
                    format!("{inbox}.{batch}")
                })
            }
            _ => Some(format!("{inbox}.{number}")),
        };
        let payload = payload.clone();
        match reply {
            Some(reply) if headers.is_empty() => {
                client.publish_with_reply(SUBJECT, reply, payload).await?;
            }
            Some(reply) => {
                let publish =
                    client.publish_with_reply_and_headers(SUBJECT, reply, headers, payload);
                publish.await?;
            }
            None => {
                client
                    .publish_with_headers(SUBJECT, headers, payload)
                    .await?
            }
        }
    }
    window.await_settled(way, events).await
}
