//! The page: the verdict first, then the command and the faults, then the plots.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::axes::Axes;
use super::plots;
use super::verdict::{ContenderVerdict, headline};
use crate::drill::format::{count, digits, duration};
use crate::drill::record::{About, Check, ContenderRecord, Fault, Record};

/// The page loads nothing and runs nothing: if a text were markup in spite of the escaping, the policy
/// would keep it from running or loading anything. With the slashes the page is well-formed XML, too.
const META: PreEscaped<&str> = PreEscaped(concat!(
    "<meta charset='utf-8'/>\n",
    "<meta name='viewport' content='width=device-width, initial-scale=1'/>\n",
    "<meta name='color-scheme' content='light dark'/>\n",
    "<meta http-equiv='Content-Security-Policy' ",
    "content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n",
));

const STYLE: PreEscaped<&str> = PreEscaped(concat!(
    include_str!("palette.css"),
    include_str!("style.css")
));

pub(super) fn html(record: &Record) -> Markup {
    let headline = headline(record);
    let axes = Axes::of(record);
    let contenders = || record.contenders.iter().enumerate();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (META)
                title { "jetsink drill: " (headline) }
                style { (STYLE) }
            }
            body {
                main {
                    header {
                        p { "jetsink drill of " time { (record.about.started) } }
                        h1 { (headline) }
                    }
                    div class="verdicts" {
                        @for (index, contender) in contenders() { (verdict(record, index, contender)) }
                    }
                    div class="facts" { (about(&record.about)) (faults(&record.faults)) }
                    section {
                        h2 { "All contenders" }
                        (plots::overview(record, &axes))
                        p class="note" {
                            "Grey: a fault. A gap in a line: no value, such as for the stream while its broker "
                            "is down, or for the median while no emit ends."
                        }
                    }
                    @for (index, contender) in contenders() {
                        section class={ "contender-" (plots::colour(index)) } {
                            h2 { i class="swatch" {} (contender.name) }
                            (plots::contender(record, &axes, index, contender))
                        }
                    }
                }
            }
        }
    }
}

fn verdict(record: &Record, index: usize, contender: &ContenderRecord) -> Markup {
    let verdict = ContenderVerdict::of(record, contender);
    html! {
        section class={ "verdict contender-" (plots::colour(index)) } {
            h2 { i class="swatch" {} (contender.name) }
            p class=(verdict.class()) { (verdict.text()) }
            table {
                thead {
                    tr { @for name in ["check", "seen", "bound", "mark"] { th scope="col" { (name) } } }
                }
                tbody { @for check in &contender.checks { (row(check)) } }
            }
        }
    }
}

fn row(check: &Check) -> Markup {
    let mark = match check.kept {
        Some(true) => Some(("kept", "✓ kept")),
        Some(false) => Some(("broken", "✗ broken")),
        None => None,
    };
    html! {
        tr {
            th scope="row" { (check.name) }
            @match (&check.bound, mark) {
                // A value without a bound spans all three columns.
                (None, None) => td colspan="3" { (unbroken(&check.seen)) },
                (bound, mark) => {
                    td { (unbroken(&check.seen)) }
                    td { (short(bound.as_deref().unwrap_or(""))) }
                    @let (class, text) = mark.unwrap_or(("neutral", ""));
                    td class=(class) { (text) }
                }
            }
        }
    }
}

/// Shortens a bound for a narrow column.
fn short(bound: &str) -> String {
    match bound.strip_prefix("at most ") {
        Some(max) => format!("≤\u{a0}{}", unbroken(max)),
        None => unbroken(bound),
    }
}

/// Keeps a number on one line with its unit.
fn unbroken(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((number, unit)) if unit.chars().count() <= 3 => format!("{number}\u{a0}{unit}"),
        _ => text.to_owned(),
    }
}

fn about(about: &About) -> Markup {
    let servers = match about.servers {
        0 => "the drill caused no faults".to_owned(),
        1 => "one server".to_owned(),
        servers => format!("{servers} servers"),
    };
    let load = format!(
        "{} events/s of {} bytes per contender, {} in all; the deadline of an emit is {}; one sample per {}",
        digits(about.rate),
        count(about.payload_bytes as u64),
        duration(about.seconds),
        duration(about.deadline_seconds),
        duration(about.tick_seconds),
    );
    html! {
        section {
            h2 { "To repeat it" }
            pre { code { (about.command) } }
            dl {
                dt { "versions" }
                dd { "jetsink " (about.jetsink) ", nats-server " (about.nats_server) " (" (servers) ")" }
                dt { "load" }
                dd { (load) }
            }
        }
    }
}

fn faults(faults: &[Fault]) -> Markup {
    html! {
        section {
            h2 { "Faults" }
            @if faults.is_empty() {
                p { "None." }
            } @else {
                table class="faults" {
                    thead {
                        tr {
                            @for name in ["no.", "fault", "from", "until", "for"] {
                                th scope="col" { (name) }
                            }
                        }
                    }
                    tbody {
                        @for (index, fault) in faults.iter().enumerate() {
                            tr {
                                td { (index + 1) }
                                th scope="row" { (fault.name) }
                                td { (duration(fault.from)) }
                                td { (duration(fault.until)) }
                                td { (duration(fault.until - fault.from)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
