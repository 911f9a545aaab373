//! The number of envelopes that a pipeline may have in flight: fixed, or found by measuring.

use tokio::time::Instant;

use super::adaptive::AdaptiveWindow;
use crate::outcome::Delivery;

#[derive(Debug)]
pub(super) enum Width {
    Fixed(usize),
    Adaptive(AdaptiveWindow),
}

impl Width {
    /// Makes it adaptive, with the present width as the maximum.
    pub(super) fn adapt(&mut self) {
        if let Self::Fixed(max) = self {
            *self = Self::Adaptive(AdaptiveWindow::new(*max));
        }
    }

    #[inline]
    pub(super) fn get(&self) -> usize {
        match self {
            Self::Fixed(width) => *width,
            Self::Adaptive(window) => window.width(),
        }
    }

    /// A result was awaited while the window was not full.
    #[inline]
    pub(super) fn starved(&mut self) {
        if let Self::Adaptive(window) = self {
            window.starved();
        }
    }

    /// An envelope was stored or spooled.
    #[inline]
    pub(super) fn settled(&mut self, delivery: &Delivery) {
        if let Self::Adaptive(window) = self {
            match delivery {
                Delivery::Stored(_) => window.stored(Instant::now),
                // Not sent: no sign of the broker's rate.
                Delivery::Spooled => {}
            }
        }
    }

    /// The broker failed, or sending pauses before a retry. A failure of one subject disturbs nothing: a failing
    /// tenant would keep the window narrow for all.
    pub(super) fn disturbed(&mut self) {
        if let Self::Adaptive(window) = self {
            window.disturbed();
        }
    }
}
