//! The display of progress, which is redrawn at the bottom of the terminal. At most one is shown at a time; each other line on
//! standard error is printed above it.

use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

/// The display that is shown.
static SHOWN: Mutex<Option<Display>> = Mutex::new(None);

enum Display {
    Bar(WeakProgressBar),
    Lines(MultiProgress),
}

/// A bar on standard error. It is hidden unless `wanted`, and if standard error is no terminal. `total` is `None` if
/// the end is unknown.
pub(crate) fn progress_bar(wanted: bool, total: Option<u64>, template: &str) -> ProgressBar {
    let target = if wanted {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(total, target);
    // The template is valid; otherwise the default style is used.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    if !bar.is_hidden() {
        show(Display::Bar(bar.downgrade()));
    }
    bar
}

/// Lines on standard error that are redrawn in place.
pub(crate) fn progress_lines() -> MultiProgress {
    let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    show(Display::Lines(lines.clone()));
    lines
}

fn show(display: Display) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(display);
}

/// Calls a function that writes whole lines to standard error, above the display.
pub(super) fn above(print: impl FnOnce()) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*shown {
        None => print(),
        Some(Display::Bar(bar)) => match bar.upgrade() {
            Some(bar) => bar.suspend(print),
            None => print(),
        },
        Some(Display::Lines(lines)) => {
            // Its next frame draws it again. `suspend` would panic on a closed terminal.
            let _ = lines.clear();
            print();
        }
    }
}
