//! The atomics that loom's tests put loom's in the place of.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
