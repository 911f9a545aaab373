//! A hash of an event's content. It distinguishes a repeat from another event with the same identity.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use jetsink::Envelope;

use crate::identity::Digest;
use crate::protocol::content::ATTRIBUTE;

/// Hashes with a random key of this process, so that no sender can choose two contents of one hash.
#[derive(Debug, Default)]
pub(crate) struct Digests(RandomState);

impl Digests {
    /// The payload, and the attributes of binary mode in headers. The order of headers does not count:
    /// proxies change it. The trace context does not count: it may be the request's, and an event's own is in the payload
    /// or in a `ce-` header as well. An event that was read from the spool has the same digest.
    pub(crate) fn of(&self, envelope: &Envelope) -> Digest {
        let mut payload = self.0.build_hasher();
        payload.write(envelope.payload());
        let attributes = envelope
            .headers()
            .iter()
            // Others repeat the payload of a structured event, or an attribute.
            .filter(|(name, _)| {
                name.starts_with(ATTRIBUTE) || name.eq_ignore_ascii_case("content-type")
            })
            .map(|header| self.0.hash_one(header));
        attributes.fold(payload.finish(), Digest::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jetsink::{Headers, Subject};

    #[test]
    fn order_of_headers_does_not_count_and_everything_else_does() {
        let digests = Digests::default();
        let event = |headers: &[(&'static str, &'static str)], data: &'static str| {
            let mut checked = Headers::default();
            for (name, value) in headers {
                checked.push(*name, *value).unwrap();
            }
            let envelope = Envelope::new(Subject::new("e").unwrap(), data.into());
            digests.of(&envelope.with_headers(checked))
        };
        let one = event(&[("ce-a", "1"), ("ce-b", "2")], "x");
        assert_eq!(one, event(&[("ce-b", "2"), ("ce-a", "1")], "x"));
        assert_ne!(one, event(&[("ce-a", "1"), ("ce-b", "2")], "y"));
        assert_ne!(one, event(&[("ce-a", "2"), ("ce-b", "1")], "x"));
        assert_ne!(one, event(&[("ce-a", "1"), ("ce-b", "3")], "x"));
        assert_ne!(one, event(&[("ce-a", "1b")], "x"));
        assert_ne!(one, event(&[], "x"));
        let typed = [("ce-a", "1"), ("ce-b", "2"), ("content-type", "text/plain")];
        assert_ne!(one, event(&typed, "x"));
        let traced = [("ce-a", "1"), ("ce-b", "2"), ("traceparent", "00-…")];
        assert_eq!(one, event(&traced, "x"), "the context of a request");
    }
}
