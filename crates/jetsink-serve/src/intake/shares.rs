//! A limit that all requests share: places, or bytes. One credential has at most half of it; so have all senders without a
//! credential together, if others have one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limit, and the parts of it that are taken.
#[derive(Debug)]
pub(crate) struct Shares {
    max: usize,
    taken: AtomicUsize,
    by_name: Mutex<HashMap<Arc<str>, usize>>,
}

/// A part of the limit, released by its drop.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    /// The sender's name in `by_name`; `None` if all senders are alike.
    name: Option<Arc<str>>,
    amount: usize,
}

impl Shares {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: AtomicUsize::new(0),
            by_name: Mutex::default(),
        })
    }

    /// An empty part, for [`Share::add`].
    pub(crate) fn empty(self: &Arc<Self>, name: Option<&Arc<str>>) -> Share {
        Share {
            shares: Arc::clone(self),
            name: name.cloned(),
            amount: 0,
        }
    }

    fn take(&self, more: usize) -> bool {
        let sum = |taken: usize| taken.checked_add(more).filter(|sum| *sum <= self.max);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        taken.is_ok()
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes `more`, unless that exceeds the limit, or the credential's half of it. Then nothing changes.
    pub(crate) fn add(&mut self, more: usize) -> bool {
        let shares = &*self.shares;
        if !shares.take(more) {
            return false;
        }
        if let Some(name) = &self.name {
            let mut by_name = shares.by_name();
            let taken = by_name.entry(Arc::clone(name)).or_default();
            if *taken + more > shares.max / 2 {
                let is_unused = *taken == 0;
                if is_unused {
                    by_name.remove(name);
                }
                shares.taken.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
            *taken += more;
        }
        self.amount += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        if let Some(name) = &self.name {
            let mut by_name = self.shares.by_name();
            if let Some(taken) = by_name.get_mut(name) {
                *taken -= self.amount;
                if *taken == 0 {
                    by_name.remove(name);
                }
            }
        }
        self.shares.taken.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shares: &Arc<Shares>, name: Option<&Arc<str>>, amount: usize) -> Option<Share> {
        let mut share = shares.empty(name);
        share.add(amount).then_some(share)
    }

    #[test]
    fn one_credential_leaves_half_to_others() {
        let shares = Shares::new(4);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let first = take(&shares, Some(&one), 1).unwrap();
        let _second = take(&shares, Some(&one), 1).unwrap();
        assert!(take(&shares, Some(&one), 1).is_none());
        let _third = take(&shares, Some(&other), 1).unwrap();
        let _fourth = take(&shares, None, 1).unwrap();
        assert!(take(&shares, Some(&other), 1).is_none(), "all are taken");
        drop(first);
        assert!(take(&shares, Some(&one), 1).is_some());
    }

    // A reviewer's finding: half of an odd limit was rounded up.
    #[test]
    fn half_of_an_odd_limit_is_rounded_down() {
        let shares = Shares::new(3);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let _first = take(&shares, Some(&one), 1).unwrap();
        assert!(take(&shares, Some(&one), 1).is_none());
        let _second = take(&shares, Some(&other), 1).unwrap();
        assert!(take(&shares, None, 1).is_some());
    }

    #[test]
    fn refused_growth_changes_nothing_and_a_drop_returns_everything() {
        let shares = Shares::new(100);
        let name: Arc<str> = "one".into();
        let mut share = shares.empty(Some(&name));
        assert!(share.add(30) && share.add(20));
        assert!(!share.add(1), "more than half");
        assert!(take(&shares, None, 51).is_none(), "more than the rest");
        assert!(!shares.empty(None).add(usize::MAX), "no overflow");
        let rest = take(&shares, None, 50).unwrap();
        drop((share, rest));
        assert_eq!(shares.taken.load(Ordering::Relaxed), 0);
        assert!(shares.by_name().is_empty());
    }
}
