//! One spool for all sinks of a process whose environment variable names the same folder.
//!
//! A supervisor makes two sinks, one of them for the receipts from before its run, and both live until it
//! ends. A spool has one owner: the second sink could not open it, and the supervisor would not start.

use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jetsink::Sink;
use tokio::sync::OnceCell;

use crate::port::Port;

/// Two sinks share one engine if these are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedBy {
    pub(crate) spool: PathBuf,
    pub(crate) servers: String,
    pub(crate) root_ca: Option<PathBuf>,
}

type SharedSink = OnceCell<Arc<Sink<Port>>>;

static SHARED: Mutex<Vec<(SharedBy, Weak<SharedSink>)>> = Mutex::new(Vec::new());

/// A sink's own engine, or its share of one that other sinks use, too; the last of them closes it.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    sink: Arc<Sink<Port>>,
    _shared: Option<Arc<SharedSink>>,
}

impl Engine {
    pub(crate) fn own(sink: Sink<Port>) -> Self {
        Self {
            sink: Arc::new(sink),
            _shared: None,
        }
    }

    /// Returns the engine that another sink has opened, else opens one by `open`. Concurrent calls wait for
    /// the first.
    pub(crate) async fn shared<E>(
        by: SharedBy,
        open: impl Future<Output = Result<Sink<Port>, E>>,
    ) -> Result<Self, E> {
        let shared = shared_sink(by);
        let opened = shared.get_or_try_init(async || open.await.map(Arc::new));
        let sink = Arc::clone(opened.await?);
        Ok(Self {
            sink,
            _shared: Some(shared),
        })
    }
}

impl Deref for Engine {
    type Target = Sink<Port>;

    fn deref(&self) -> &Sink<Port> {
        &self.sink
    }
}

fn shared_sink(by: SharedBy) -> Arc<SharedSink> {
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, shared)| shared.strong_count() > 0);
    let found = all.iter().find(|(other, _)| *other == by);
    if let Some(shared) = found.and_then(|(_, shared)| shared.upgrade()) {
        return shared;
    }
    let shared = Arc::new(SharedSink::new());
    all.push((by, Arc::downgrade(&shared)));
    shared
}
