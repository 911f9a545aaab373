//! Records with damaged and with matching checksums, so that the decoding behind the checksum is reached.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use trial::{Dice, Trial};

use crate::message::envelope::Headers;
use crate::spool::log::event::{NewRecord, decode_event, decode_letter, split};
use crate::spool::log::format::{HEAD, Head, Kind};
use crate::spool::record::{DeadRecord, Record};
use crate::{Envelope, MessageId, Subject};

const SEGMENT: u64 = 0x1234_5678_9abc_def0;

fn record(payload: &[u8]) -> Record {
    let mut headers = Headers::default();
    headers
        .push("content-type", "application/cloudevents+json")
        .unwrap();
    headers.push("traceparent", "00-é").unwrap();
    Record {
        index: 7,
        spooled_at: 1_700_000_000_000,
        may_be_stored: true,
        envelope: Envelope::new(
            Subject::new("events.acme").unwrap(),
            Bytes::copy_from_slice(payload),
        )
        .with_headers(headers)
        .with_message_id(MessageId::new("sink.7").unwrap())
        .with_expiry(SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123)),
    }
}

fn letter(payload: &[u8]) -> DeadRecord {
    DeadRecord {
        record: record(payload),
        code: 10_054,
        died_at: 1_700_000_000_001,
        reason: "too large".to_owned(),
    }
}

fn encoded(new: &NewRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = Head {
        index: 7,
        durable_below: 3,
        ..new.head
    };
    head.encode(SEGMENT, &mut bytes);
    bytes.extend_from_slice(&new.fields);
    bytes.extend_from_slice(&new.payload);
    bytes
}

/// As if the body had been written like that.
fn with_new_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= HEAD {
        let length = u32::try_from(bytes.len() - HEAD).unwrap();
        let body = crc32fast::hash(&bytes[HEAD..]);
        bytes[40..44].copy_from_slice(&length.to_le_bytes());
        bytes[48..52].copy_from_slice(&body.to_le_bytes());
        let head = crc32fast::hash(&bytes[..HEAD - 4]);
        bytes[HEAD - 4..HEAD].copy_from_slice(&head.to_le_bytes());
    }
    bytes
}

fn mutated(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.index(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.index(bytes.len());
        match dice.below(4) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            2 => bytes[at] = *dice.one_of(&[0, 1, 0x7f, 0x80, 0xff]),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes
}

/// Decodes a record and encodes it again: nothing is invented.
fn look_at(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let Ok((head, body)) = split(&bytes, SEGMENT) else {
        return;
    };
    if head.kind == Kind::Event
        && let Some(record) = decode_event(&head, &body, None)
    {
        let again = NewRecord::event(&record, None);
        assert_eq!([&again.fields[..], &again.payload[..]].concat(), &body[..]);
    }
    if head.kind == Kind::DeadLetter
        && let Some(letter) = decode_letter(&head, &body)
    {
        let again = NewRecord::dead_letter(&letter);
        assert_eq!([&again.fields[..], &again.payload[..]].concat(), &body[..]);
    }
}

#[test]
fn record_of_any_bytes_is_refused_or_equals_the_written_one() {
    let payloads: [&[u8]; 3] = [b"{}", b"", &[0xff; 300]];
    let records = payloads.iter().flat_map(|payload| {
        let event = NewRecord::event(&record(payload), None);
        [
            encoded(&event),
            encoded(&NewRecord::dead_letter(&letter(payload))),
        ]
    });
    let records: Vec<Vec<u8>> = records.collect();
    for whole in &records {
        let (head, body) = split(&Bytes::from(whole.clone()), SEGMENT).unwrap();
        let read = match head.kind {
            Kind::Event => decode_event(&head, &body, None),
            _ => decode_letter(&head, &body).map(|letter| letter.record),
        };
        let written = record(&read.as_ref().unwrap().envelope.payload().clone());
        assert_eq!(read.unwrap().envelope, written.envelope);
    }
    Trial::new("fuzz-spool-records", 2_000).run(|dice| {
        let at = dice.index(records.len());
        let broken = mutated(dice, &records[at]);
        look_at(broken.clone());
        look_at(with_new_checksums(broken));
    });
}
