//! Decides whether a message may be in flight beside others: one that has a turn (`turn`) keeps them away. Pure.

/// Whether a message may be in flight together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    Any,
    /// In this turn, with no other message in flight that the server may not have processed.
    Alone {
        turn: u64,
    },
    /// A check of the server, also in a turn.
    Check,
}

#[derive(Debug, Default)]
pub(super) struct Places {
    /// The number of turns so far: numbers them.
    turns: u64,
    /// The turn that keeps others away.
    turn: Option<u64>,
    /// Its message, once that is in flight.
    alone: Option<u64>,
    /// Whether a message found no place in this turn.
    others_wait: bool,
}

impl Places {
    /// Keeps others away. Returns the number of the turn.
    pub(super) fn begin_turn(&mut self) -> u64 {
        self.turns += 1;
        (self.turn, self.alone, self.others_wait) = (Some(self.turns), None, false);
        self.turns
    }

    /// Ends this turn. Returns whether others found no place in it.
    pub(super) fn end_turn(&mut self, turn: u64) -> bool {
        if self.turn == Some(turn) {
            self.let_others_in();
        }
        self.turns == turn && self.others_wait
    }

    /// Whether a message may be sent now. `all_processed` returns whether the server has processed all messages in
    /// flight.
    #[inline]
    pub(super) fn has_place(
        &mut self,
        company: Company,
        all_processed: impl FnOnce() -> bool,
    ) -> bool {
        match company {
            Company::Any if self.turn.is_none() => true,
            Company::Any => {
                self.others_wait = true;
                false
            }
            Company::Alone { turn } => self.turn == Some(turn) && all_processed(),
            Company::Check => true,
        }
    }

    /// The message of the turn is in flight.
    pub(super) fn begin_alone(&mut self, token: u64) {
        self.alone = Some(token);
    }

    /// The server has processed all messages up to this one.
    #[inline]
    pub(super) fn processed(&mut self, token: u64) {
        if self.alone.is_some_and(|alone| alone <= token) {
            self.let_others_in();
        }
    }

    /// Lets others in before the turn ends.
    pub(super) fn let_others_in(&mut self) {
        (self.turn, self.alone) = (None, None);
    }
}
