//! Points at which a trial ends the process, as `kill -9` would, at the very moment that matters.
//!
//! They do something only with the feature `crash-points`, which is off unless a build asks for it and
//! is no part of the interface; without it the module is private, and does nothing. With it,
//! `JETSINK_CRASH_AT=replay.sent JETSINK_CRASH_AFTER=3` ends the process the fourth time that it comes
//! by, so a program that others run must not be built with it.

#![cfg_attr(
    not(feature = "crash-points"),
    expect(unreachable_pub, reason = "public with the feature alone")
)]

/// All of them.
#[cfg(any(feature = "crash-points", debug_assertions))]
pub const POINTS: &[&str] = &[
    "spool.before-commit",
    "spool.after-commit",
    "spool.acknowledged",
    "replay.sent",
    "replay.acknowledged",
    "replay.removed",
    "reconcile.looked-up",
    "close.before-seal",
    "close.after-seal",
    "position.written",
    "position.renamed",
];

/// Ends the process here if it is this point's turn: nothing is flushed, no destructor runs.
#[inline]
#[cfg_attr(
    not(any(feature = "crash-points", debug_assertions)),
    expect(unused_variables, reason = "there is nothing to do")
)]
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    assert!(POINTS.contains(&name), "{name} is not in the list");
    #[cfg(feature = "crash-points")]
    end_at(name);
}

#[cfg(feature = "crash-points")]
fn end_at(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static CHOSEN: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("JETSINK_CRASH_AT").ok());
    static LEFT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let after = std::env::var("JETSINK_CRASH_AFTER").ok();
        AtomicU64::new(after.and_then(|after| after.parse().ok()).unwrap_or(0))
    });
    let one_less = |left: u64| left.checked_sub(1);
    if CHOSEN.as_deref() == Some(name)
        && LEFT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_err()
    {
        std::process::abort();
    }
}
