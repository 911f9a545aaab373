//! The protocol over a bare socket: nothing of a client library in the figures, and each byte ours to choose.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Result;
use crate::broker::PAYLOAD_BYTES;

/// What the client asks for an answer with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reply {
    /// A subject of its own for each, under async-nats' form of an inbox.
    Own,
    /// The same under an inbox of four bytes.
    Short,
    /// So many subjects, in turn.
    Slots(u64),
    /// Only each nth asks at all.
    Each(u64),
    /// Fast ingest: an ack for each `flow` events, `acks` of them outstanding at the most.
    Fast { flow: u64, acks: u64 },
    /// Atomic batches of so many, `in_flight` of them at a time.
    Atomic { size: u64, in_flight: u64 },
}

/// What is sent, and how.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Before the event's number; `None` is no id, and no header.
    pub(crate) id: Option<&'static str>,
    pub(crate) headers: &'static str,
    pub(crate) reply: Reply,
    pub(crate) window: u64,
    pub(crate) subjects: u64,
    /// Bytes that are gathered for one write.
    pub(crate) write: usize,
    pub(crate) payload: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            id: Some("bench."),
            headers: "",
            reply: Reply::Own,
            window: 1_024,
            subjects: 1,
            write: 64 << 10,
            payload: PAYLOAD_BYTES,
        }
    }
}

#[derive(Debug, Default)]
struct Answers {
    /// Below this all is answered.
    settled: u64,
    /// Of fast ingest: how many events the server wants to answer at a time.
    flow: u64,
    /// An answer that is no success.
    bad: Option<String>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<Answers>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Connection {
    socket: TcpStream,
    inbox: String,
    shape: Shape,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Connection {
    pub(crate) fn open(port: u16, shape: Shape, number: usize) -> Result<Self> {
        let inbox = match shape.reply {
            Reply::Short => format!("_R.{number}"),
            // The batch's id is the second part.
            Reply::Fast { .. } => format!("_INBOX{number}7cyJ2RXKQ4pYtnVb1aLwM"),
            // As long as async-nats'.
            _ => format!("_INBOX.{number}7cyJ2RXKQ4pYtnVb1aLwM"),
        };
        let (socket, reader) = connect(port, &format!("{inbox}.>"))?;
        let shared = Arc::new(Shared::default());
        let (to, reply) = (Arc::clone(&shared), shape.reply);
        let reader = std::thread::spawn(move || {
            let end = read(reader, reply, &to);
            let mut answers = to.lock();
            answers.ended = true;
            if let Err(error) = end {
                answers.bad.get_or_insert(error.to_string());
            }
            to.changed.notify_all();
        });
        Ok(Self {
            socket,
            inbox,
            shape,
            shared,
            reader: Some(reader),
        })
    }

    /// Sends these events and waits until all are answered.
    pub(crate) fn publish(&mut self, numbers: Range<u64>) -> Result<()> {
        let events = numbers.end - numbers.start;
        {
            let mut answers = self.shared.lock();
            *answers = Answers::default();
        }
        let payload = vec![b'x'; self.shape.payload];
        let mut bytes = Vec::with_capacity(self.shape.write + 2_048);
        let mut sent = 0;
        while sent < events {
            let room = self.await_room(sent)?.min(events);
            while sent < room {
                self.encode(&mut bytes, numbers.start, sent, events, &payload)?;
                sent += 1;
                if bytes.len() >= self.shape.write {
                    self.socket.write_all(&bytes)?;
                    bytes.clear();
                }
            }
            self.socket.write_all(&bytes)?;
            bytes.clear();
        }
        self.await_answers(|answers| answers.settled >= events)
    }

    /// How many events may have been sent in all.
    fn await_room(&self, sent: u64) -> Result<u64> {
        let (reply, window) = (self.shape.reply, self.shape.window);
        let mut room = 0;
        self.await_answers(|answers| {
            room = match reply {
                // The first is answered before the second is sent: does the stream take batches?
                Reply::Fast { .. } if answers.settled == 0 && answers.flow == 0 => 1,
                Reply::Fast { acks, .. } => answers.settled + answers.flow * acks,
                Reply::Atomic { size, in_flight } => answers.settled + size * in_flight,
                _ => answers.settled + window,
            };
            room > sent
        })?;
        Ok(room)
    }

    fn await_answers(&self, mut enough: impl FnMut(&Answers) -> bool) -> Result<()> {
        let mut answers = self.shared.lock();
        loop {
            if let Some(bad) = &answers.bad {
                return Err(bad.clone().into());
            }
            if enough(&answers) {
                return Ok(());
            }
            let waited = self
                .shared
                .changed
                .wait_timeout(answers, Duration::from_secs(20));
            let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() || after.ended {
                return Err(format!("no answer for 20 s: {after:?}").into());
            }
            answers = after;
        }
    }

    fn encode(
        &self,
        to: &mut Vec<u8>,
        from: u64,
        sent: u64,
        events: u64,
        payload: &[u8],
    ) -> Result<()> {
        let Shape {
            id,
            headers,
            reply,
            subjects,
            ..
        } = &self.shape;
        let (number, inbox) = (from + sent, &self.inbox);
        let mut header = String::new();
        if let Some(id) = id {
            header.push_str(&format!("Nats-Msg-Id: {id}{number}\r\n"));
        }
        header.push_str(headers);
        let last = sent + 1 == events;
        let answer = match *reply {
            Reply::Own | Reply::Short => format!("{inbox}.{number}"),
            Reply::Slots(slots) => format!("{inbox}.{}", number % slots),
            Reply::Each(n) if (sent + 1).is_multiple_of(n) || last => format!("{inbox}.{number}"),
            Reply::Each(_) => String::new(),
            Reply::Fast { flow, .. } => {
                // 0 begins, 1 goes on, 2 stores and ends; one batch for each call.
                let operation = if last { 2 } else { u8::from(sent > 0) };
                format!("{inbox}.{from}.{flow}.fail.{}.{operation}.$FI", sent + 1)
            }
            Reply::Atomic { size, .. } => {
                let (batch, place) = (sent / size, sent % size + 1);
                header.push_str(&format!(
                    "Nats-Batch-Id: {from}-{batch}\r\nNats-Batch-Sequence: {place}\r\n"
                ));
                if place == size || last {
                    header.push_str("Nats-Batch-Commit: 1\r\n");
                    format!("{inbox}.{number}")
                } else {
                    String::new()
                }
            }
        };
        let tenant = number % subjects;
        if header.is_empty() {
            write!(to, "PUB events.{tenant} {answer} {}\r\n", payload.len())?;
        } else {
            // `NATS/1.0` and the empty line.
            let size = header.len() + 12;
            let all = size + payload.len();
            write!(
                to,
                "HPUB events.{tenant} {answer} {size} {all}\r\nNATS/1.0\r\n{header}\r\n"
            )?;
        }
        to.extend_from_slice(payload);
        to.extend_from_slice(b"\r\n");
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Logged in, and subscribed to `answers`.
pub(crate) fn connect(port: u16, answers: &str) -> Result<(TcpStream, BufReader<TcpStream>)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, socket.try_clone()?);
    write!(
        socket,
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}}\r\n\
         SUB {answers} 1\r\nPING\r\n"
    )?;
    let mut line = String::new();
    while !line.starts_with("PONG") {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.starts_with("-ERR") {
            return Err(format!("no login: {line}").into());
        }
    }
    Ok((socket, reader))
}

/// The next message's subject, and what it says (headers and all).
pub(crate) fn next_message(reader: &mut BufReader<TcpStream>) -> Result<Option<(String, String)>> {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.starts_with("-ERR") {
            return Err(line.into());
        }
        if line.starts_with("MSG") || line.starts_with("HMSG") {
            break;
        }
    }
    let mut words = line.split_whitespace();
    let subject = words.nth(1).unwrap_or_default().to_owned();
    let size: usize = words
        .next_back()
        .ok_or("a message without a size")?
        .parse()?;
    let mut body = vec![0; size + 2];
    reader.read_exact(&mut body)?;
    body.truncate(size);
    Ok(Some((subject, String::from_utf8_lossy(&body).into_owned())))
}

fn read(mut reader: BufReader<TcpStream>, reply: Reply, shared: &Shared) -> Result<()> {
    let mut gathered = 0;
    while let Some((_, body)) = next_message(&mut reader)? {
        let number = |name: &str| number_in(&body, name);
        let good = !body.contains("\"error\"") && !body.contains("\"duplicate\"");
        let (mut settled_to, mut flow) = (None, None);
        match reply {
            _ if !good => {}
            Reply::Fast { .. } if body.contains("\"type\":\"ack\"") => {
                (settled_to, flow) = (number("seq"), number("msgs"));
            }
            Reply::Fast { .. } => settled_to = number("count"),
            Reply::Atomic { .. } => gathered += number("count").unwrap_or(0),
            Reply::Each(n) => gathered += n,
            _ => gathered += u64::from(number("seq").is_some()),
        }
        let answered = settled_to.is_some() || gathered > 0;
        // One lock and one wake-up for all that came with one read. (What follows may be a PING, behind
        // which nothing comes.)
        let more = reader.buffer().starts_with(b"MSG");
        if answered && good && more && settled_to.is_none() {
            continue;
        }
        let mut answers = shared.lock();
        if !answered {
            answers.bad = Some(body);
        }
        answers.settled =
            settled_to.map_or(answers.settled + gathered, |to| to.max(answers.settled));
        answers.flow = flow.unwrap_or(answers.flow);
        gathered = 0;
        shared.changed.notify_all();
    }
    Ok(())
}

/// The whole number behind `"name":`.
fn number_in(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
