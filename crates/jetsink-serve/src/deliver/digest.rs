//! A hash of an event's content. It distinguishes a repeat from another event with the same identity.

use jetsink::Envelope;
use sha2::{Digest as _, Sha256};

use crate::identity::Digest;
use crate::protocol::content::ATTRIBUTE;

/// Hashes the payload, and the attributes of binary mode in headers. The order of headers does not count: proxies change it.
/// The trace context does not count: it may be the request's, and an event's own is in the payload or in a `ce-` header as
/// well. An event that was read from the spool has the same hash, in each version and process.
pub(crate) fn digest(envelope: &Envelope) -> Digest {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(envelope.payload());
    // Others repeat the payload of a structured event, or an attribute.
    let attributes = envelope.headers().iter().filter(|(name, _)| {
        name.starts_with(ATTRIBUTE) || name.eq_ignore_ascii_case("content-type")
    });
    let mut attributes: Vec<(&str, &str)> = attributes.collect();
    attributes.sort_unstable();
    for (name, value) in attributes {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    Digest::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jetsink::{Headers, Subject};

    fn of(headers: &[(&'static str, &'static str)], data: &'static str) -> Digest {
        let mut checked = Headers::default();
        for (name, value) in headers {
            checked.push(*name, *value).unwrap();
        }
        let envelope = Envelope::new(Subject::new("e").unwrap(), data.into());
        digest(&envelope.with_headers(checked))
    }

    #[test]
    fn order_of_headers_does_not_count_and_everything_else_does() {
        let one = of(&[("ce-a", "1"), ("ce-b", "2")], "x");
        assert_eq!(one, of(&[("ce-b", "2"), ("ce-a", "1")], "x"));
        assert_ne!(one, of(&[("ce-a", "1"), ("ce-b", "2")], "y"));
        assert_ne!(one, of(&[("ce-a", "2"), ("ce-b", "1")], "x"));
        assert_ne!(one, of(&[("ce-a", "1"), ("ce-b", "3")], "x"));
        assert_ne!(one, of(&[("ce-a", "1b")], "x"));
        assert_ne!(one, of(&[], "x"));
        let typed = [("ce-a", "1"), ("ce-b", "2"), ("content-type", "text/plain")];
        assert_ne!(one, of(&typed, "x"));
        let traced = [("ce-a", "1"), ("ce-b", "2"), ("traceparent", "00-…")];
        assert_eq!(one, of(&traced, "x"), "the context of a request");
    }

    // The files of identities have it. The number was computed with Python's hashlib.
    #[test]
    fn hash_is_the_same_in_each_version() {
        assert_eq!(of(&[("ce-a", "1")], "x"), 11_861_565_317_415_508_527);
    }
}
