//! What the server answers where something goes wrong, as it says it.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Result;
use crate::broker::{Broker, stream};
use crate::raw::{connect, next_message};

/// How long to listen after the last word.
const SILENCE: Duration = Duration::from_millis(400);
const START: u8 = 0;
const APPEND: u8 = 1;
const COMMIT: u8 = 2;
const PING: u8 = 4;

struct Talk {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    batch: String,
    gap: &'static str,
}

impl Talk {
    fn begin(broker: &Broker, title: &str, gap: &'static str) -> Result<Self> {
        println!(
            "\n{title}{}{gap}",
            if gap.is_empty() { "" } else { ", gap " }
        );
        let batch = format!("_P.{}", title.len() * 31 + gap.len());
        Self::over(broker, batch, gap)
    }

    fn over(broker: &Broker, batch: String, gap: &'static str) -> Result<Self> {
        let (socket, reader) = connect(broker.server.port(), "_P.>")?;
        socket.set_read_timeout(Some(SILENCE))?;
        Ok(Self {
            socket,
            reader,
            batch,
            gap,
        })
    }

    fn send(&mut self, subject: &str, reply: &str, headers: &str, payload: &str) -> Result<()> {
        let size = headers.len() + 12;
        let all = size + payload.len();
        Ok(write!(
            self.socket,
            "HPUB {subject} {reply} {size} {all}\r\nNATS/1.0\r\n{headers}\r\n{payload}\r\n"
        )?)
    }

    /// One event of a fast batch, an ack for each asked for.
    fn fast(&mut self, place: u64, operation: u8, headers: &str, payload: &str) -> Result<()> {
        let reply = format!("{}.1.{}.{place}.{operation}.$FI", self.batch, self.gap);
        self.send("events.acme", &reply, headers, payload)
    }

    fn id(&mut self, place: u64, operation: u8, id: &str) -> Result<()> {
        self.fast(place, operation, &format!("Nats-Msg-Id: {id}\r\n"), "x")
    }

    /// One event of an atomic batch.
    fn atomic(&mut self, place: u64, headers: &str, commit: bool) -> Result<()> {
        let commit = if commit {
            "Nats-Batch-Commit: 1\r\n"
        } else {
            ""
        };
        let (batch, reply) = (self.batch.clone(), format!("{}.{place}", self.batch));
        let headers =
            format!("Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {place}\r\n{commit}{headers}");
        self.send("events.acme", &reply, &headers, "x")
    }

    fn listen(&mut self) {
        // Ends with the silence.
        while let Ok(Some((subject, text))) = next_message(&mut self.reader) {
            println!("  {subject:<24} {}", text.trim().replace("\r\n", " | "));
        }
    }
}

async fn stored(broker: &Broker) -> Result<()> {
    println!("  in the stream: {}", broker.stored().await?);
    Ok(())
}

pub(crate) async fn show() -> Result<()> {
    let mut config = stream();
    config.max_message_size = 64;
    for gap in ["fail", "ok"] {
        let broker = Broker::start("", config.clone()).await?;
        let mut talk = Talk::begin(&broker, "fast: the 3rd has the id of the 2nd", gap)?;
        for (place, id) in [(1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "d")] {
            let operation = match place {
                1 => START,
                5 => COMMIT,
                _ => APPEND,
            };
            talk.id(place, operation, id)?;
        }
        talk.listen();
        stored(&broker).await?;

        let mut talk = Talk::begin(&broker, "fast: the commit has an id stored before", gap)?;
        talk.id(1, START, "e")?;
        talk.id(2, COMMIT, "a")?;
        talk.listen();
        stored(&broker).await?;

        let mut talk = Talk::begin(&broker, "fast: the 2nd is too large for the stream", gap)?;
        talk.id(1, START, "f")?;
        talk.fast(2, APPEND, "", &"x".repeat(100))?;
        talk.id(3, APPEND, "g")?;
        talk.id(4, COMMIT, "h")?;
        talk.listen();
        stored(&broker).await?;

        let mut talk = Talk::begin(&broker, "fast: the 2nd expects another stream", gap)?;
        talk.id(1, START, "i")?;
        talk.fast(2, APPEND, "Nats-Expected-Stream: OTHER\r\n", "x")?;
        talk.id(3, APPEND, "j")?;
        talk.id(4, COMMIT, "k")?;
        talk.listen();
        stored(&broker).await?;

        let mut talk = Talk::begin(&broker, "fast: the 3rd never comes", gap)?;
        for (place, operation) in [(1, START), (2, APPEND), (4, APPEND), (5, COMMIT)] {
            talk.id(place, operation, &format!("l{place}"))?;
        }
        talk.listen();
        stored(&broker).await?;

        let mut talk = Talk::begin(&broker, "fast: the connection is lost after the 2nd", gap)?;
        talk.id(1, START, "m1")?;
        talk.id(2, APPEND, "m2")?;
        talk.listen();
        stored(&broker).await?;
        println!("  another connection goes on: ping at 2, then the 2nd again, 3, 4 (commit)");
        let mut talk = Talk::over(&broker, talk.batch.clone(), gap)?;
        talk.fast(2, PING, "", "")?;
        talk.listen();
        talk.id(2, APPEND, "m2")?;
        talk.listen();
        talk.id(3, APPEND, "m3")?;
        talk.id(4, COMMIT, "m4")?;
        talk.listen();
        stored(&broker).await?;

        let mut talk = Talk::begin(&broker, "fast: 11 s of silence after the 2nd", gap)?;
        talk.id(1, START, "n1")?;
        talk.id(2, APPEND, "n2")?;
        talk.listen();
        tokio::time::sleep(Duration::from_secs(11)).await;
        talk.id(3, APPEND, "n3")?;
        talk.listen();
        stored(&broker).await?;
    }

    // An atomic batch's headers alone are more than those 64 bytes.
    let broker = Broker::start("", stream()).await?;
    let mut talk = Talk::begin(&broker, "atomic: with ids", "")?;
    talk.atomic(1, "Nats-Msg-Id: a\r\n", false)?;
    talk.atomic(2, "Nats-Msg-Id: b\r\n", true)?;
    talk.listen();
    stored(&broker).await?;
    let mut talk = Talk::begin(&broker, "atomic: the 2nd has an id stored before", "")?;
    talk.atomic(1, "Nats-Msg-Id: c\r\n", false)?;
    talk.atomic(2, "Nats-Msg-Id: a\r\n", false)?;
    talk.atomic(3, "Nats-Msg-Id: d\r\n", true)?;
    talk.listen();
    stored(&broker).await?;
    let mut talk = Talk::begin(&broker, "atomic: a thousand and one", "")?;
    for place in 1..=1_001 {
        let batch = talk.batch.clone();
        let reply = if place > 999 {
            format!("{batch}.{place}")
        } else {
            String::new()
        };
        let commit = if place == 1_001 {
            "Nats-Batch-Commit: 1\r\n"
        } else {
            ""
        };
        let headers = format!("Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {place}\r\n{commit}");
        talk.send("events.acme", &reply, &headers, "x")?;
    }
    talk.listen();
    stored(&broker).await
}
