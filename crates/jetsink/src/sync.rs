//! The atomics of the circuit, named here so that its loom tests can put loom's in their place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
