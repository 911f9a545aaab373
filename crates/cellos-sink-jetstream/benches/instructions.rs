//! Does one thing again and again, for `cargo xtask instructions` to count the instructions of.
//!
//! `instructions WORKLOAD PREPARED DONE`, as the engine's benchmark of this name has it. The same event
//! is emitted each time, so there is nothing to prepare.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a benchmark fails

#[path = "common/scripts.rs"]
mod scripts;

use std::hint::black_box;

use scripts::{emit_rejected, event, open_sink};

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let [workload, _, done] = &arguments[..] else {
        println!("`cargo xtask instructions` runs this and counts");
        return;
    };
    let done: usize = done.parse().unwrap();
    match workload.as_str() {
        "drop-in-rejected" => {
            let (sink, event) = (open_sink(), event());
            for _ in 0..done {
                black_box(emit_rejected(&sink, &event));
            }
        }
        other => panic!("no workload {other:?}"),
    }
}
