//! One spool for all sinks of a process that the environment variable sends to the same folder.
//!
//! A supervisor makes two sinks, one of them for the receipts from before its run, and both live to its
//! end. A spool has one owner: the second would not open, and the supervisor would not start.

use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jetsink::Sink;
use tokio::sync::OnceCell;

use crate::port::Port;

/// What must be the same for two sinks to share one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedBy {
    pub(crate) spool: PathBuf,
    pub(crate) servers: String,
    pub(crate) root_ca: Option<PathBuf>,
}

type Place = OnceCell<Arc<Sink<Port>>>;

static PLACES: Mutex<Vec<(SharedBy, Weak<Place>)>> = Mutex::new(Vec::new());

/// A sink's own engine, or its part in one that others use, too; the last of them closes it.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    sink: Arc<Sink<Port>>,
    _place: Option<Arc<Place>>,
}

impl Engine {
    pub(crate) fn own(sink: Sink<Port>) -> Self {
        Self {
            sink: Arc::new(sink),
            _place: None,
        }
    }

    /// The engine that another sink has opened, else the one that `open` opens; who comes while that
    /// is under way waits for it.
    pub(crate) async fn shared<E>(
        by: SharedBy,
        open: impl Future<Output = Result<Sink<Port>, E>>,
    ) -> Result<Self, E> {
        let place = place(by);
        let opened = place.get_or_try_init(async || open.await.map(Arc::new));
        let sink = Arc::clone(opened.await?);
        Ok(Self {
            sink,
            _place: Some(place),
        })
    }
}

impl Deref for Engine {
    type Target = Sink<Port>;

    fn deref(&self) -> &Sink<Port> {
        &self.sink
    }
}

fn place(by: SharedBy) -> Arc<Place> {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.retain(|(_, place)| place.strong_count() > 0);
    let there = places.iter().find(|(other, _)| *other == by);
    if let Some(place) = there.and_then(|(_, place)| place.upgrade()) {
        return place;
    }
    let place = Arc::new(Place::new());
    places.push((by, Arc::downgrade(&place)));
    place
}
