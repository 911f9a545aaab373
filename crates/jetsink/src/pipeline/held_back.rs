//! Entries that wait in a pipeline until they may be sent or spooled.
//!
//! Invariant: if an entry of a subject is held back, so are all queued entries behind it of that
//! subject, until the next look at them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::message::subject::Subject;
use crate::publish::schedule::Schedule;

/// How often held entries are looked at while others settle. A look with each result would cost a look
/// at the whole window per event.
const LOOK_AT_HELD: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct HeldBack {
    subjects: HashSet<Subject>,
    look_at: Instant,
    /// Subjects whose spooled events are about to be stored, and until when that is waited for.
    hand_overs: Schedule<Subject>,
    /// An entry waits until the spool has room for it.
    waits_for_room: bool,
}

impl HeldBack {
    pub(super) fn new() -> Self {
        Self {
            subjects: HashSet::new(),
            look_at: Instant::now(),
            hand_overs: Schedule::default(),
            waits_for_room: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.subjects.contains(subject)
    }

    /// Holds back an entry of this subject.
    pub(super) fn insert(&mut self, subject: Subject) {
        self.subjects.insert(subject);
    }

    /// Holds back an entry of this subject until the spool has room for it. A smaller one behind it may
    /// fit, and would overtake it.
    pub(super) fn insert_until_room(&mut self, subject: Subject) {
        self.insert(subject);
        self.waits_for_room = true;
    }

    /// Releases all held entries for another look, if it is time to or nothing else is on its way.
    /// `holds` says whether the spool contains events of a subject.
    pub(super) fn release_if_due(
        &mut self,
        now: Instant,
        is_idle: bool,
        holds: impl FnMut(&Subject) -> bool,
    ) -> bool {
        let holds_back = !self.subjects.is_empty() || self.hand_overs.has_delayed();
        let is_due = is_idle || (holds_back && now >= self.look_at);
        if is_due {
            self.look_at = now + LOOK_AT_HELD;
            self.subjects.clear();
            self.waits_for_room = false;
            self.hand_overs.retain_delayed(holds);
        }
        is_due
    }

    /// The time of the next look at held entries; `None` without any.
    pub(super) fn next_look(&self) -> Option<Instant> {
        (!self.is_empty()).then_some(self.look_at)
    }

    /// Whether an entry of this subject waits for the hand-over, which would end at `until` if it began
    /// now; `None` without a hand-over. The first entry that asks begins it, and it ends with its time.
    pub(super) fn waits_for_hand_over(
        &mut self,
        subject: &Subject,
        now: Instant,
        until: Option<Instant>,
    ) -> bool {
        let waits = match (until, self.hand_overs.due_at(subject)) {
            (None, _) => false,
            (Some(until), None) => {
                self.hand_overs.delay_until(subject.clone(), until);
                true
            }
            (Some(_), Some(began_until)) => now < began_until,
        };
        if !waits {
            self.hand_overs.cancel(subject);
        }
        waits
    }

    /// The hand-over that ends first.
    pub(super) fn next_hand_over(&self) -> Option<(Instant, &Subject)> {
        self.hand_overs.first_due()
    }

    pub(super) fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_over_begins_once_and_ends_at_its_time_or_with_the_connection() {
        let now = Instant::now();
        let later = now + Duration::from_millis(10);
        let subject = Subject::new("a").unwrap();
        let mut held = HeldBack::new();
        assert!(held.waits_for_hand_over(&subject, now, Some(later)));
        let restarted = Some(later + Duration::from_millis(10));
        assert!(held.waits_for_hand_over(&subject, now, restarted));
        assert_eq!(held.next_hand_over(), Some((later, &subject)));
        assert!(!held.waits_for_hand_over(&subject, later, restarted));
        assert_eq!(held.next_hand_over(), None);
        assert!(held.waits_for_hand_over(&subject, now, Some(later)));
        assert!(!held.waits_for_hand_over(&subject, now, None));
        assert_eq!(held.next_hand_over(), None);
    }
}
