//! A hash of an event's content. It distinguishes a repeat from another event with the same identity.

use jetsink::BinaryEvent;
use sha2::{Digest as _, Sha256};

use crate::identity::Digest;

/// The bytes of an event's JSON.
pub(crate) fn of_json(json: &[u8]) -> Digest {
    start(Sha256::digest(json))
}

/// Attributes and data. Header order does not count: proxies change it.
pub(crate) fn of_binary(event: &BinaryEvent) -> Digest {
    let mut attributes: Vec<_> = event.attributes().collect();
    attributes.sort_unstable();
    let mut hash = Sha256::new();
    for text in attributes
        .into_iter()
        .flat_map(|(name, value)| [name, value])
    {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    // No text has this length.
    hash.update(u64::MAX.to_be_bytes());
    hash.update(event.data());
    start(hash.finalize())
}

fn start(hash: impl AsRef<[u8]>) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(&hash.as_ref()[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_headers_does_not_count_and_everything_else_does() {
        let required = [
            ("id", "1"),
            ("source", "/s"),
            ("specversion", "1.0"),
            ("type", "t"),
        ];
        let event = |more: &[(&str, &str)], data: &'static str| {
            let all = more.iter().chain(&required);
            let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            of_binary(&BinaryEvent::new(all, data.into()).unwrap())
        };
        let one = event(&[("a", "1"), ("b", "2")], "x");
        assert_eq!(one, event(&[("b", "2"), ("a", "1")], "x"));
        assert_ne!(one, event(&[("a", "1"), ("b", "2")], "y"));
        assert_ne!(one, event(&[("a", "1"), ("b", "3")], "x"));
        assert_ne!(one, event(&[("a", "1b")], "x"));
    }
}
