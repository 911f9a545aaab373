//! What lies in a spool's file: records and dead letters, with their checksums and with new ones, so that
//! what is behind the checksum is reached.

use bytes::Bytes;
use trial::{Dice, Trial};

use crate::message::envelope::Headers;
use crate::spool::{DeadLetter, Record};
use crate::tests::trials::fuzz::bounded;
use crate::tests::trials::fuzz::mutate::mutated;
use crate::{Envelope, MessageId, Subject};

const WORDS: [&[u8]; 10] = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x01\0\0\0",
    b"\0\0\0\x80",
    b"\x01",
    b"a.b",
    b"\xff",
    b"\r\n",
    b"\x02\x01",
    b"content-type",
];

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
        .with_message_id(MessageId::new("sink.7").unwrap()),
    }
}

fn letter(payload: &[u8]) -> DeadLetter {
    DeadLetter {
        record: record(payload),
        code: 10_054,
        died_at: 1_700_000_000_001,
        reason: "too large".to_owned(),
    }
}

fn with_new_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 4 {
        let checksum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn look_at_record(bytes: &[u8]) {
    let shared = Bytes::copy_from_slice(bytes);
    let subject = Subject::new("events.acme").unwrap();
    let (read, in_place) = bounded(bytes.len(), 16, || {
        let in_place = Record::decode_shared(&shared, &shared, &subject);
        (Record::decode(bytes), in_place)
    });
    assert_eq!(read, in_place);
    let Ok(record) = read else { return };
    // Of what is taken nothing is lost but flags that this version does not know.
    let mut again = record.encode();
    assert_eq!(again.len(), bytes.len());
    again[5] = bytes[5];
    assert_eq!(again[4..], bytes[4..]);
}

fn look_at_letter(bytes: &[u8]) {
    let Ok(letter) = bounded(bytes.len(), 16, || DeadLetter::decode(bytes)) else {
        return;
    };
    let again = letter.encode();
    assert_eq!(DeadLetter::decode(&again), Ok(letter));
}

fn look_at(dice: &mut Dice, records: &[&[u8]], letters: &[&[u8]]) {
    let broken = mutated(dice, records, &WORDS);
    let (broken, resealed) = (broken.clone(), with_new_checksum(broken));
    look_at_record(&broken);
    look_at_record(&resealed);
    let broken = mutated(dice, letters, &WORDS);
    look_at_letter(&broken);
    // The letter's own record has a checksum too, at its end's beginning.
    let inner = 24 + "too large".len();
    let mut resealed = broken;
    if resealed.len() > inner && dice.coin() {
        let record = with_new_checksum(resealed.split_off(inner));
        resealed.extend_from_slice(&record);
    }
    look_at_letter(&with_new_checksum(resealed));
}

#[test]
fn no_record_panics_and_what_is_taken_is_what_was_there() {
    let payloads: [&[u8]; 3] = [b"{}", b"", &[0xff; 300]];
    let records = payloads.map(|payload| record(payload).encode());
    let letters = payloads.map(|payload| letter(payload).encode());
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let letters: Vec<&[u8]> = letters.iter().map(Vec::as_slice).collect();
    Trial::new("fuzz-spool-records", 2_000).run(|dice| look_at(dice, &records, &letters));
}
