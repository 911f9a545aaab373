//! The events of a drill. Each contains its contender and its number, so it can be reconstructed and
//! compared.

use serde::Deserialize;

/// The events of one drill.
#[derive(Debug, Clone)]
pub(super) struct Events {
    /// Unique to the drill.
    drill: String,
    bytes: usize,
}

/// An event that a stream contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) contender: usize,
    pub(super) number: u64,
    /// Whether it has the emitted bytes.
    pub(super) intact: bool,
}

impl Events {
    pub(super) fn new(drill: String, bytes: usize) -> Self {
        Self { drill, bytes }
    }

    /// Structured JSON of the configured size, or larger if its attributes need more.
    pub(super) fn event(&self, contender: usize, number: u64) -> Vec<u8> {
        let mut json = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/jetsink/drill/{}/{contender}","type":"jetsink.drill","data":{{"padding":""#,
            self.drill
        );
        const END: &str = "\"}}";
        let padding = self.bytes.saturating_sub(json.len() + END.len());
        json.extend(std::iter::repeat_n('x', padding));
        json.push_str(END);
        json.into_bytes()
    }

    /// Parses a stored message; `None` if it is not from this drill.
    pub(super) fn recognize(&self, payload: &[u8]) -> Option<Stored> {
        #[derive(Deserialize)]
        struct Names<'a> {
            id: &'a str,
            source: &'a str,
        }
        let names: Names<'_> = serde_json::from_slice(payload).ok()?;
        let contender = names.source.strip_prefix("/jetsink/drill/")?;
        let contender = contender.strip_prefix(&self.drill)?.strip_prefix('/')?;
        let (contender, number) = (contender.parse().ok()?, names.id.parse().ok()?);
        Some(Stored {
            contender,
            number,
            intact: self.event(contender, number) == payload,
        })
    }
}

#[cfg(test)]
#[path = "tests/event.rs"]
mod tests;
