//! Places for requests in flight. One credential has at most half of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_name: HashMap<Arc<str>, usize>,
}

/// The places of a gateway.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    taken: Mutex<Taken>,
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
            taken: Mutex::default(),
        })
    }

    /// Takes a place; `None` if all are taken, or half of them by this credential.
    pub(crate) fn take(self: &Arc<Self>, name: Option<&Arc<str>>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.all >= self.max {
            return None;
        }
        if let Some(name) = name {
            let by_name = taken.by_name.get(name).copied().unwrap_or_default();
            if by_name >= self.max.div_ceil(2) {
                return None;
            }
            *taken.by_name.entry(Arc::clone(name)).or_default() += 1;
        }
        taken.all += 1;
        Some(Place {
            places: Arc::clone(self),
            name: name.cloned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(name) = &self.name
            && let Some(count) = taken.by_name.get_mut(name)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_name.remove(name);
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
