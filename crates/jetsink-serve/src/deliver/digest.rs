//! A hash of an event's content. It distinguishes a repeat from another event with the same identity.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

use jetsink::BinaryEvent;

use crate::identity::Digest;

/// Hashes with a random key of this process, so that no sender can choose two contents of one hash.
#[derive(Debug, Default)]
pub(crate) struct Digests(RandomState);

impl Digests {
    /// The bytes of an event's JSON.
    pub(crate) fn of_json(&self, json: &[u8]) -> Digest {
        let mut hasher = self.0.build_hasher();
        hasher.write(json);
        hasher.finish()
    }

    /// Attributes and data. Header order does not count: proxies change it.
    pub(crate) fn of_binary(&self, event: &BinaryEvent) -> Digest {
        let mut attributes: Vec<_> = event.attributes().collect();
        attributes.sort_unstable();
        let mut hasher = self.0.build_hasher();
        attributes.hash(&mut hasher);
        hasher.write(event.data());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_headers_does_not_count_and_everything_else_does() {
        let digests = Digests::default();
        let required = [
            ("id", "1"),
            ("source", "/s"),
            ("specversion", "1.0"),
            ("type", "t"),
        ];
        let event = |more: &[(&str, &str)], data: &'static str| {
            let all = more.iter().chain(&required);
            let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            digests.of_binary(&BinaryEvent::new(all, data.into()).unwrap())
        };
        let one = event(&[("a", "1"), ("b", "2")], "x");
        assert_eq!(one, event(&[("b", "2"), ("a", "1")], "x"));
        assert_ne!(one, event(&[("a", "1"), ("b", "2")], "y"));
        assert_ne!(one, event(&[("a", "1"), ("b", "3")], "x"));
        assert_ne!(one, event(&[("a", "1b")], "x"));
    }
}
