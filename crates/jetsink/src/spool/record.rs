//! One event as the spool keeps it. Pure.
//!
//! ```text
//! crc32 of the rest │ version │ flags │ spooled at │ index │ subject │ id │ headers │ payload
//!        4          │    1    │   1   │  8 ms     │   8   │  4 + n  │4+n │ 4 + …   │ 4 + n
//! ```
//!
//! The checksum covers the index and subject too, so a record that turns up under another's key is
//! found out.

use bytes::{Buf as _, BufMut as _, Bytes};

use crate::message::envelope::{Envelope, Headers, MessageId, without_copy};
use crate::message::subject::Subject;

/// The version of the layout above.
const VERSION: u8 = 1;

/// Checksum to index, and the lengths of subject, id, headers and payload.
const FIXED_BYTES: usize = 22 + 4 * 4;

const FLAG_MAY_BE_STORED: u8 = 1;

/// An event in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its place in the order of spooling, unique in this spool.
    pub(crate) index: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) spooled_at: u64,
    /// Whether it was sent before it was spooled, and nobody knows what became of it.
    pub(crate) may_be_stored: bool,
    /// With a message id, always: it is what replay is recognized by.
    pub(crate) envelope: Envelope,
}

/// What is wrong with bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("its checksum does not match")]
    Checksum,
    #[error("it has layout {0}, which this version does not know")]
    Version(u8),
    #[error("its fields don't hold together")]
    Fields,
}

impl Record {
    pub(crate) fn encoded_len(&self) -> usize {
        let envelope = &self.envelope;
        let headers = envelope.headers().iter();
        let headers: usize = headers
            .map(|(name, value)| 8 + name.len() + value.len())
            .sum();
        let id = envelope.message_id().map_or(0, |id| id.as_str().len());
        FIXED_BYTES + envelope.subject().as_str().len() + id + headers + envelope.payload().len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let envelope = &self.envelope;
        let id = envelope.message_id().map_or("", MessageId::as_str);
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.put_u32_le(0);
        bytes.put_u8(VERSION);
        bytes.put_u8(if self.may_be_stored {
            FLAG_MAY_BE_STORED
        } else {
            0
        });
        bytes.put_u64_le(self.spooled_at);
        bytes.put_u64_le(self.index);
        put(&mut bytes, envelope.subject().as_str().as_bytes());
        put(&mut bytes, id.as_bytes());
        bytes.put_u32_le(length(envelope.headers().iter().count()));
        for (name, value) in envelope.headers().iter() {
            put(&mut bytes, name.as_bytes());
            put(&mut bytes, value.as_bytes());
        }
        put(&mut bytes, envelope.payload());
        sealed(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        Self::decode_with(bytes, None, Bytes::copy_from_slice)
    }

    /// As [`decode`](Self::decode), without copying the payload out of the buffer that `bytes` are
    /// a part of, or the subject where it is this one.
    pub(crate) fn decode_shared(
        bytes: &[u8],
        buffer: &Bytes,
        subject: &Subject,
    ) -> Result<Self, Damage> {
        Self::decode_with(bytes, Some(subject), |payload| buffer.slice_ref(payload))
    }

    fn decode_with(
        bytes: &[u8],
        subject: Option<&Subject>,
        payload: impl Fn(&[u8]) -> Bytes,
    ) -> Result<Self, Damage> {
        let mut rest = unsealed(bytes)?;
        // From here on the bytes are those that were written; what fails is a bug, or a stranger's.
        let version = rest.try_get_u8().map_err(|_| Damage::Fields)?;
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        let record = Self::fields(&mut rest, subject, payload).ok_or(Damage::Fields)?;
        if rest.is_empty() {
            Ok(record)
        } else {
            Err(Damage::Fields)
        }
    }

    fn fields(
        rest: &mut &[u8],
        expected: Option<&Subject>,
        payload: impl Fn(&[u8]) -> Bytes,
    ) -> Option<Self> {
        let flags = rest.try_get_u8().ok()?;
        let spooled_at = rest.try_get_u64_le().ok()?;
        let index = rest.try_get_u64_le().ok()?;
        let subject = text(rest)?;
        let subject = match expected {
            Some(expected) if expected.as_str() == subject => expected.clone(),
            _ => Subject::new(subject).ok()?,
        };
        let id = MessageId::new(text(rest)?).ok()?;
        let mut headers = Headers::default();
        for _ in 0..rest.try_get_u32_le().ok()? {
            let name = text(rest)?;
            headers
                .push(without_copy(name), without_copy(text(rest)?))
                .ok()?;
        }
        Some(Self {
            index,
            spooled_at,
            may_be_stored: flags & FLAG_MAY_BE_STORED != 0,
            envelope: Envelope::new(subject, payload(take(rest)?))
                .with_headers(headers)
                .with_message_id(id),
        })
    }
}

/// Writes the checksum of the rest into the first four bytes, which were left free.
pub(super) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let (checksum, rest) = bytes.split_at_mut(4);
    checksum.copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
    bytes
}

/// The rest, if it is what was [`sealed`].
pub(super) fn unsealed(bytes: &[u8]) -> Result<&[u8], Damage> {
    let (checksum, rest) = bytes.split_first_chunk::<4>().ok_or(Damage::Checksum)?;
    if crc32fast::hash(rest) == u32::from_le_bytes(*checksum) {
        Ok(rest)
    } else {
        Err(Damage::Checksum)
    }
}

/// No part of an envelope comes near 4 GiB: the broker's own limit is 64 MiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn put(into: &mut Vec<u8>, part: &[u8]) {
    into.put_u32_le(length(part.len()));
    into.extend_from_slice(part);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let (part, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take(rest)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(payload: &[u8], headers: &[(String, String)], may_be_stored: bool) -> Record {
        let mut checked = Headers::default();
        for (name, value) in headers {
            checked.push(name.clone(), value.clone()).unwrap();
        }
        Record {
            index: 7,
            spooled_at: 1_700_000_000_000,
            may_be_stored,
            envelope: Envelope::new(
                Subject::new("events.acme").unwrap(),
                Bytes::copy_from_slice(payload),
            )
            .with_headers(checked)
            .with_message_id(MessageId::new("sink.7").unwrap()),
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            payload: Vec<u8>,
            headers in proptest::collection::vec(("[a-z-]{1,8}", "[ -~é]{0,20}"), 0..4),
            may_be_stored: bool,
        ) {
            let record = record(&payload, &headers, may_be_stored);
            let bytes = record.encode();
            prop_assert_eq!(bytes.len(), record.encoded_len());
            prop_assert_eq!(Record::decode(&bytes), Ok(record.clone()));
            let shared = Bytes::from(bytes);
            let subject = record.envelope.subject();
            prop_assert_eq!(Record::decode_shared(&shared, &shared, subject), Ok(record.clone()));
            let other = Subject::new("other").unwrap();
            prop_assert_eq!(Record::decode_shared(&shared, &shared, &other), Ok(record));
        }

        #[test]
        fn bytes_that_are_no_record_are_refused(bytes: Vec<u8>) {
            prop_assert!(Record::decode(&bytes).is_err());
        }
    }

    #[test]
    fn each_flipped_bit_and_each_cut_is_found() {
        let bytes = record(b"{}", &[("a".into(), "b".into())], true).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&flipped), Err(Damage::Checksum), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
