//! A function that learns which events were spooled.

use std::fmt;
use std::sync::OnceLock;

use super::log::event::{NewRecord, id_in};
use super::log::format::Kind;

/// Gets the message ids of events that were just synced.
pub(crate) type Observe = Box<dyn Fn(&mut dyn Iterator<Item = &str>) + Send + Sync>;

/// The place of the function; it may come later than the first event.
#[derive(Default)]
pub(super) struct Observer(OnceLock<Observe>);

impl Observer {
    /// Returns whether it was the first function; that one stays.
    pub(super) fn set(&self, observe: Observe) -> bool {
        self.0.set(observe).is_ok()
    }

    /// Passes on the ids of the events among the records.
    pub(super) fn synced<'a>(&self, records: impl Iterator<Item = &'a NewRecord>) {
        if let Some(observe) = self.0.get() {
            let mut ids = records
                .filter(|record| record.head.kind == Kind::Event)
                .filter_map(|record| id_in(&record.fields))
                .filter(|id| !id.is_empty())
                .peekable();
            if ids.peek().is_some() {
                observe(&mut ids);
            }
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}
