//! The events of a batch: slices of its body.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::answer::problem::{Problem, ProblemKind};

/// Splits a JSON array into its members, without a copy. An empty array is valid (JSON event format 1.0.2, section 4).
pub(crate) fn split(body: &Bytes, max_events: usize) -> Result<Vec<Bytes>, Problem> {
    let mut is_too_long = false;
    let members = Members {
        body,
        max_events,
        is_too_long: &mut is_too_long,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let split = json.deserialize_seq(members);
    let split = split.and_then(|members| json.end().map(|()| members));
    split.map_err(|error| {
        if is_too_long {
            let detail =
                format!("more than {max_events} events in one batch; send smaller batches");
            return Problem::new(ProblemKind::TooLarge, detail);
        }
        let detail = format!("the batch is not a JSON array of events: {error}");
        Problem::new(ProblemKind::InvalidEvent, detail)
    })
}

/// Collects the members of the array, and ends at the first one above the limit: a body of small values has millions.
struct Members<'a> {
    body: &'a Bytes,
    max_events: usize,
    is_too_long: &'a mut bool,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<Bytes>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Bytes>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = sequence.next_element::<&'de RawValue>()? {
            if members.len() == self.max_events {
                *self.is_too_long = true;
                return Err(A::Error::custom("too many events"));
            }
            members.push(self.body.slice_ref(member.get().as_bytes()));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_bytes() {
        let body = Bytes::from_static(b" [ {\"a\" : 1} ,\n{} ] ");
        let members = split(&body, 2).unwrap();
        assert_eq!(members, [&b"{\"a\" : 1}"[..], b"{}"]);
        assert!(split(&Bytes::from_static(b"[]"), 2).unwrap().is_empty());
    }

    #[test]
    fn other_json_and_long_batches_are_refused() {
        for body in ["{}", "", "[1,", "null", "[{}]x"] {
            let problem = split(&Bytes::from_static(body.as_bytes()), 9).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::InvalidEvent, "{body}");
        }
        let problem = split(&Bytes::from_static(b"[1,2,3]"), 2).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::TooLarge);
    }

    // A reviewer's finding: all members were collected before the limit applied.
    #[test]
    fn members_above_the_limit_are_not_read() {
        let problem = split(&Bytes::from_static(b"[1,2,3,#"), 2).unwrap_err();
        assert_eq!(
            problem.kind(),
            ProblemKind::TooLarge,
            "the rest is not parsed"
        );
        let problem = split(&Bytes::from_static(b"[1,2,#"), 2).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::InvalidEvent);
    }
}
