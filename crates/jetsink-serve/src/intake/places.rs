//! Places for requests in flight. One credential has at most half of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of a gateway.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    taken: AtomicUsize,
    by_name: Mutex<HashMap<Arc<str>, usize>>,
}

/// One place, released by its drop.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    name: Option<Arc<str>>,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: AtomicUsize::new(0),
            by_name: Mutex::default(),
        })
    }

    /// Takes a place; `None` if all are taken, or half of them by this credential.
    pub(crate) fn take(self: &Arc<Self>, name: Option<&Arc<str>>) -> Option<Place> {
        // The drop of this place releases it if the credential has no more.
        let mut place = Place {
            places: Arc::clone(self),
            name: None,
        };
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.max {
            return None;
        }
        if let Some(name) = name {
            let mut by_name = self.by_name();
            let taken = by_name.entry(Arc::clone(name)).or_default();
            if *taken >= self.max.div_ceil(2) {
                return None; // `place` has no name yet, so its drop takes no lock
            }
            *taken += 1;
            place.name = Some(Arc::clone(name));
        }
        Some(place)
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(name) = &self.name {
            let mut by_name = self.places.by_name();
            if let Some(count) = by_name.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    by_name.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_credential_leaves_half_of_the_places_to_others() {
        let places = Places::new(4);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let first = places.take(Some(&one)).unwrap();
        let _second = places.take(Some(&one)).unwrap();
        assert!(places.take(Some(&one)).is_none());
        let _third = places.take(Some(&other)).unwrap();
        let _fourth = places.take(None).unwrap();
        assert!(places.take(Some(&other)).is_none(), "all are taken");
        drop(first);
        assert!(places.take(Some(&one)).is_some());
    }
}
