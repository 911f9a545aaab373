//! The events of a batch: slices of its body.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::answer::problem::{Kind, Problem};

/// Splits a JSON array into its members, without a copy. An empty array is valid (JSON event format 1.0.2, section 4).
pub(crate) fn split(body: &Bytes, max_events: usize) -> Result<Vec<Bytes>, Problem> {
    let members: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the batch is not a JSON array of events: {error}");
        Problem::new(Kind::InvalidEvent, detail)
    })?;
    if members.len() > max_events {
        let events = members.len();
        let detail = format!(
            "{events} events in one batch, but the limit is {max_events}; send smaller batches"
        );
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let slice = |member: &RawValue| body.slice_ref(member.get().as_bytes());
    Ok(members.into_iter().map(slice).collect())
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
            assert_eq!(problem.kind(), Kind::InvalidEvent, "{body}");
        }
        let problem = split(&Bytes::from_static(b"[1,2,3]"), 2).unwrap_err();
        assert_eq!(problem.kind(), Kind::TooLarge);
    }
}
