//! Decides whether a message may be in flight beside others: one that must be alone (`alone`) keeps them away. Pure,
//! except for the clock.

use std::time::Duration;

use tokio::time::Instant;

/// Whether a message may be in flight together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    Any,
    /// With no other message in flight that the server may not have processed.
    Alone,
    /// A check of the server, also beside a message that must be alone.
    Check,
}

/// The time for which a message that must be alone keeps others away while it waits for those in flight. It
/// renews this each time it tries.
pub(super) const RESERVATION: Duration = Duration::from_millis(500);

/// The time for which others go first after a message was alone. They try once per millisecond.
pub(super) const OTHERS_FIRST: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Places {
    /// The message that is alone in flight.
    alone: Option<u64>,
    /// A message is waiting to be alone: until this time no other gets a place.
    reserved_until: Option<Instant>,
    /// Whether a message found no place since the last one was alone.
    others_wait: bool,
    /// Until this time no message gets its place alone: those that found none go first.
    others_first_until: Option<Instant>,
}

impl Places {
    /// Whether a message may be sent now. `all_processed` returns whether the server has processed all messages in
    /// flight.
    #[inline]
    pub(super) fn has_place(
        &mut self,
        company: Company,
        all_processed: impl FnOnce() -> bool,
    ) -> bool {
        match company {
            Company::Any if self.alone.is_none() && self.reserved_until.is_none() => true,
            Company::Any => self.reservation_has_expired(),
            Company::Alone => self.has_place_alone(all_processed),
            Company::Check => true,
        }
    }

    #[cold]
    fn reservation_has_expired(&mut self) -> bool {
        let now = Instant::now();
        let expired = |until: &mut Instant| *until <= now;
        let has_place = self.alone.is_none() && self.reserved_until.take_if(expired).is_some();
        self.others_wait |= !has_place;
        has_place
    }

    #[cold]
    fn has_place_alone(&mut self, all_processed: impl FnOnce() -> bool) -> bool {
        let now = Instant::now();
        if !self.may_be_alone(now) {
            return false;
        }
        let has_place = all_processed();
        if !has_place {
            self.reserved_until = Some(now + RESERVATION);
        }
        has_place
    }

    /// Whether no message is alone, and others do not go first.
    pub(super) fn may_be_alone(&self, now: Instant) -> bool {
        self.alone.is_none() && self.others_first_until.is_none_or(|until| until <= now)
    }

    /// A message that has its place alone is sent.
    pub(super) fn begin_alone(&mut self, token: u64) {
        (self.alone, self.reserved_until) = (Some(token), None);
    }

    /// Lets others be in flight beside `token`, if that is alone.
    #[inline]
    pub(super) fn end_alone(&mut self, token: u64) {
        if self.alone == Some(token) {
            self.others_first();
        }
    }

    /// Ends the reservation, if there is one.
    pub(super) fn end_reservation(&mut self) {
        if self.reserved_until.is_some() && self.alone.is_none() {
            self.others_first();
        }
    }

    #[cold]
    fn others_first(&mut self) {
        (self.alone, self.reserved_until) = (None, None);
        if std::mem::take(&mut self.others_wait) {
            self.others_first_until = Some(Instant::now() + OTHERS_FIRST);
        }
    }
}
