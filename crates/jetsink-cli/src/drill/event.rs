//! The events of a drill: each names its lane and its number, and can be made again to be compared.

use serde::Deserialize;

/// The events of one drill.
#[derive(Debug, Clone)]
pub(super) struct Events {
    /// No other drill has it.
    drill: String,
    bytes: usize,
}

/// An event that was found stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) lane: usize,
    pub(super) number: u64,
    /// As it was emitted.
    pub(super) intact: bool,
}

impl Events {
    pub(super) fn new(drill: String, bytes: usize) -> Self {
        Self { drill, bytes }
    }

    /// Structured JSON of as many bytes as were asked for, unless its attributes alone take more.
    pub(super) fn event(&self, lane: usize, number: u64) -> Vec<u8> {
        let mut json = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/jetsink/drill/{}/{lane}","type":"jetsink.drill","data":{{"padding":""#,
            self.drill
        );
        const END: &str = "\"}}";
        let padding = self.bytes.saturating_sub(json.len() + END.len());
        json.extend(std::iter::repeat_n('x', padding));
        json.push_str(END);
        json.into_bytes()
    }

    /// What a stored message is; `None` where it is not of this drill.
    pub(super) fn recognize(&self, payload: &[u8]) -> Option<Stored> {
        #[derive(Deserialize)]
        struct Names<'a> {
            id: &'a str,
            source: &'a str,
        }
        let names: Names<'_> = serde_json::from_slice(payload).ok()?;
        let lane = names.source.strip_prefix("/jetsink/drill/")?;
        let lane = lane.strip_prefix(&self.drill)?.strip_prefix('/')?;
        let (lane, number) = (lane.parse().ok()?, names.id.parse().ok()?);
        Some(Stored {
            lane,
            number,
            intact: self.event(lane, number) == payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_an_event_of_its_size_and_is_known_again() {
        let events = Events::new("d1".to_owned(), 512);
        let event = events.event(1, 7);
        assert_eq!(event.len(), 512);
        let binding = jetsink::Binding::new("drill.a".parse().unwrap());
        assert!(binding.envelope(event.clone().into()).is_ok());
        let stored = |intact| {
            Some(Stored {
                lane: 1,
                number: 7,
                intact,
            })
        };
        assert_eq!(events.recognize(&event), stored(true));
        let mut altered = event.clone();
        altered[500] = b'y';
        assert_eq!(events.recognize(&altered), stored(false));
        assert_eq!(Events::new("d2".to_owned(), 512).recognize(&event), None);
        assert_eq!(events.recognize(b"something else"), None);
    }
}
