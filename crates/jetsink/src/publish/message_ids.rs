//! Mints message ids: `<random>.<n>`, or `<sink id>.<random>.<n>`.
//!
//! The random part is drawn for each sink, so that two runs with one sink id never mint the same id.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::envelope::MessageId;
use crate::random::random_id;
use crate::sync::{read, write};

/// The most digits of a `u64`.
const MAX_DIGITS: usize = 20;

#[derive(Debug)]
pub(super) struct MessageIds {
    sink_id: Option<String>,
    prefix: RwLock<String>,
    minted: AtomicU64,
}

impl MessageIds {
    pub(super) fn new(sink_id: Option<String>) -> Self {
        Self {
            prefix: RwLock::new(prefix(sink_id.as_deref())),
            sink_id,
            minted: AtomicU64::new(0),
        }
    }

    pub(super) fn mint(&self) -> MessageId {
        let n = self.minted.fetch_add(1, Ordering::Relaxed) + 1;
        let prefix = read(&self.prefix);
        let mut id = String::with_capacity(prefix.len() + 1 + MAX_DIGITS);
        id.push_str(&prefix);
        id.push('.');
        push_number(&mut id, n);
        MessageId::minted(id)
    }

    /// An id with a random part of its own and no count: it is in no order with the others, so that its event may be sent
    /// at any time.
    pub(super) fn mint_unordered(&self) -> MessageId {
        MessageId::minted(prefix(self.sink_id.as_deref()))
    }

    /// Draws another random part, unless that was done since `taken` was minted.
    pub(super) fn draw_again(&self, taken: Option<&MessageId>) {
        let mut current = write(&self.prefix);
        let is_current = taken
            .and_then(|id| id.as_str().strip_prefix(current.as_str()))
            .is_some_and(|rest| rest.starts_with('.'));
        if is_current {
            *current = prefix(self.sink_id.as_deref());
        }
    }
}

/// Appends decimal digits. `write!` takes 400 instructions for an id, a fifth of an emit.
fn push_number(text: &mut String, mut number: u64) {
    let mut digits = ['0'; MAX_DIGITS];
    let mut first = MAX_DIGITS - 1;
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = char::from(b'0' + (number % 10) as u8);
        number /= 10;
        first = place;
        if number == 0 {
            break;
        }
    }
    text.extend(&digits[first..]);
}

fn prefix(sink_id: Option<&str>) -> String {
    let random = random_id();
    match sink_id {
        None => random,
        Some(sink_id) => format!("{sink_id}.{random}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_with_one_sink_id_mint_different_ids() {
        let [one, two] = [(); 2].map(|()| MessageIds::new(Some("me".to_owned())));
        let (one, two) = (one.mint(), two.mint());
        assert_ne!(one, two);
        for id in [one, two] {
            assert!(id.as_str().starts_with("me.") && id.as_str().ends_with(".1"));
        }
    }

    #[test]
    fn number_is_written_in_decimal_digits() {
        for number in [0, 1, 9, 10, 99, 100, 1_234_567_890, u64::MAX - 1, u64::MAX] {
            let mut text = "a.".to_owned();
            push_number(&mut text, number);
            assert_eq!(text, format!("a.{number}"));
        }
    }

    #[test]
    fn random_part_is_drawn_again_once_for_all_ids_of_the_last_one() {
        let ids = MessageIds::new(None);
        let (one, two) = (ids.mint(), ids.mint());
        let prefix_of = |id: &MessageId| id.as_str().rsplit_once('.').map(|(p, _)| p.to_owned());
        ids.draw_again(Some(&one));
        let third = ids.mint();
        assert_ne!(prefix_of(&one), prefix_of(&third));
        ids.draw_again(Some(&two));
        assert_eq!(prefix_of(&third), prefix_of(&ids.mint()));
        assert!(third.as_str().ends_with(".3"));
    }
}
