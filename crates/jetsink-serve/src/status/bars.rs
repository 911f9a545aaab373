//! A bar per minute, as SVG without text: names and numbers are HTML beside it.

use maud::{Markup, html};

/// The height of a picture in its own units; it is stretched to the available size.
const HEIGHT: f64 = 100.0;

/// The width of a minute, and the gap to the next.
const STEP: f64 = 10.0;
const GAP: f64 = 2.0;

/// The bars of one quantity; those of a later series are in front.
pub(super) struct Series {
    pub(super) class: &'static str,
    /// From the earliest to the latest minute.
    pub(super) values: Vec<f64>,
}

/// A picture with a text for readers that do not see it.
pub(super) fn bars(series: &[Series], minutes: usize, description: &str) -> Markup {
    let max = series.iter().flat_map(|series| series.values.iter());
    let max = max.copied().fold(0.0, f64::max);
    let width = minutes as f64 * STEP;
    html! {
        svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(description) {
            @for Series { class, values } in series {
                @for (index, value) in values.iter().enumerate() {
                    @if *value > 0.0 {
                        // A minute with one event is visible beside one with thousands.
                        @let height = (value / max * HEIGHT).max(1.5);
                        @let place = minutes - values.len() + index;
                        rect class={ "bar " (class) } x=(place as f64 * STEP) y=(tenths(HEIGHT - height))
                            width=(STEP - GAP) height=(tenths(height)) {}
                    }
                }
            }
        }
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
