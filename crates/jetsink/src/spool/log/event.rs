//! Events and dead letters as the bodies of records. Pure.
//!
//! ```text
//! dead letter: code │ died at │ reason │ sent before │ then, as an event:
//! event:       subject │ message id │ headers │ payload
//! ```
//!
//! The payload comes last, so that it is written from where it is and read without a copy.

use std::borrow::Cow;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::format::{HEAD, Head, Kind, NONE, State, encode_runs, length, put, size_of, text};
use crate::message::envelope::{Envelope, Headers, MessageId, without_copy};
use crate::message::subject::Subject;
use crate::spool::Place;
use crate::spool::record::{DeadRecord, Record};

/// A record on its way to the disk. Its segment, its index, and the one below which all are synced, are not known yet.
#[derive(Debug, Clone)]
pub(crate) struct NewRecord {
    pub(crate) head: Head,
    /// The body but for the payload.
    pub(crate) fields: Vec<u8>,
    pub(crate) payload: Bytes,
    /// The subject that an event belongs to.
    pub(crate) subject: Option<Subject>,
    /// The event of a dead letter, which leaves once the letter is synced.
    pub(crate) dead: Option<Place>,
}

impl NewRecord {
    /// An event; `replaces` is the index of the dead letter that it was.
    pub(crate) fn event(record: &Record, replaces: Option<u64>) -> Self {
        let mut new = Self::new(&record.envelope, record.spooled_at);
        new.head.sent = record.may_be_stored;
        new.head.replaces = replaces.unwrap_or(NONE);
        new
    }

    /// An event that was not sent.
    pub(crate) fn new(envelope: &Envelope, spooled_at: u64) -> Self {
        let mut fields = Vec::with_capacity(fields_len(envelope));
        put_envelope(&mut fields, envelope);
        let mut new = Self::of(Kind::Event, fields, envelope.payload().clone());
        new.head.time = spooled_at;
        new.subject = Some(envelope.subject().clone());
        new
    }

    /// A dead letter, which replaces its event.
    pub(crate) fn dead_letter(letter: &DeadRecord) -> Self {
        let record = &letter.record;
        let mut fields = Vec::new();
        fields.put_u64_le(letter.code);
        fields.put_u64_le(letter.died_at);
        put(&mut fields, letter.reason.as_bytes());
        put_envelope(&mut fields, &record.envelope);
        let mut new = Self::of(Kind::DeadLetter, fields, record.envelope.payload().clone());
        new.head.time = record.spooled_at;
        new.head.sent = record.may_be_stored;
        new.head.replaces = record.index;
        new
    }

    /// A state, and indexes before it that were never written.
    pub(crate) fn state(state: &State, gaps: &[u64]) -> Self {
        let mut fields = Vec::new();
        state.encode(&mut fields);
        fields.extend(encode_runs(gaps));
        Self::of(Kind::State, fields, Bytes::new())
    }

    fn of(kind: Kind, fields: Vec<u8>, payload: Bytes) -> Self {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&fields);
        checksum.update(&payload);
        let mut head = Head::of(kind, 0, 0, &[]);
        head.length = length(fields.len() + payload.len());
        head.body_checksum = checksum.finalize();
        Self {
            head,
            fields,
            payload,
            subject: None,
            dead: None,
        }
    }
}

/// The bytes that an event takes in the spool.
pub(crate) fn size_of_event(envelope: &Envelope) -> u64 {
    size_of(fields_len(envelope) + envelope.payload().len())
}

fn fields_len(envelope: &Envelope) -> usize {
    let headers = headers(envelope).map(|(name, value)| 8 + name.len() + value.len());
    let id = envelope.message_id().map_or(0, |id| id.as_str().len());
    12 + envelope.subject().as_str().len() + id + headers.sum::<usize>()
}

/// The time of expiry lies among the headers, under a name that no header has.
const EXPIRES_AT: &str = ":expires-at";

fn headers(envelope: &Envelope) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let headers = envelope.headers().iter();
    let headers = headers.map(|(name, value)| (name, Cow::from(value)));
    let expiry = envelope.expiry_millis().into_iter();
    headers.chain(expiry.map(|millis| (EXPIRES_AT, millis.to_string().into())))
}

fn put_envelope(fields: &mut Vec<u8>, envelope: &Envelope) {
    put(fields, envelope.subject().as_str().as_bytes());
    let id = envelope.message_id().map_or("", MessageId::as_str);
    put(fields, id.as_bytes());
    fields.put_u32_le(length(headers(envelope).count()));
    for (name, value) in headers(envelope) {
        put(fields, name.as_bytes());
        put(fields, value.as_bytes());
    }
}

/// The event of a record whose checksums match. Shares its payload with `body`, and its subject with
/// `expected` if it is the same.
pub(crate) fn decode_event(
    head: &Head,
    body: &Bytes,
    expected: Option<&Subject>,
) -> Option<Record> {
    decode_envelope(head, head.index, body, body, expected)
}

/// The dead letter of a record whose checksums match; its record has the index of the event.
pub(crate) fn decode_letter(head: &Head, body: &Bytes) -> Option<DeadRecord> {
    let mut rest: &[u8] = body;
    let code = rest.try_get_u64_le().ok()?;
    let died_at = rest.try_get_u64_le().ok()?;
    let reason = text(&mut rest)?.to_owned();
    Some(DeadRecord {
        record: decode_envelope(head, head.replaces, rest, body, None)?,
        code,
        died_at,
        reason,
    })
}

/// The message id of an event's body; empty if it has none.
pub(crate) fn id_in(mut body: &[u8]) -> Option<&str> {
    text(&mut body)?;
    text(&mut body)
}

fn decode_envelope(
    head: &Head,
    index: u64,
    mut rest: &[u8],
    buffer: &Bytes,
    expected: Option<&Subject>,
) -> Option<Record> {
    let subject = text(&mut rest)?;
    let subject = match expected {
        Some(expected) if expected.as_str() == subject => expected.clone(),
        _ => Subject::new(subject).ok()?,
    };
    let id = text(&mut rest)?;
    let mut headers = Headers::default();
    let mut expires_at = None;
    for _ in 0..rest.try_get_u32_le().ok()? {
        let (name, value) = (text(&mut rest)?, text(&mut rest)?);
        if expires_at.is_some() {
            return None; // it is the last one
        }
        if name == EXPIRES_AT {
            let millis: u64 = value.parse().ok()?;
            (millis.to_string() == value).then_some(())?;
            expires_at = Some(millis);
        } else {
            headers.push(without_copy(name), without_copy(value)).ok()?;
        }
    }
    let envelope = Envelope::new(subject, buffer.slice_ref(rest))
        .with_headers(headers)
        .with_expiry_millis(expires_at);
    Some(Record {
        index,
        spooled_at: head.time,
        may_be_stored: head.sent,
        envelope: match id {
            "" => envelope,
            id => envelope.with_message_id(MessageId::new(id).ok()?),
        },
    })
}

/// Splits the bytes of one record into head and body.
///
/// # Errors
/// The head, if it can be read and the body is damaged.
pub(crate) fn split(bytes: &Bytes, segment: u64) -> Result<(Head, Bytes), Option<Head>> {
    let head = Head::decode(bytes, segment).ok_or(None)?;
    let end = HEAD + head.length as usize;
    if bytes.len() < end || !head.has_body(&bytes[HEAD..end]) {
        return Err(Some(head));
    }
    Ok((head, bytes.slice(HEAD..end)))
}
