//! The page. The server renders it whole; its script only replaces the content by that of a newer page.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::bars::{Series, bars};
use super::history::MINUTES;
use super::snapshot::{BrokerStatus, Circuit, LastHour, Refusals, Snapshot, Span, Spool};
use super::text::{bytes, count, counted, duration, latency, printable, rate};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The content security policy: this style and this script only, and no other address. If a text were markup in spite of
/// the escaping, it could neither run nor load anything.
pub(crate) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// The worst state that the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Good,
    Warn,
    Bad,
}

impl Level {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

pub(crate) fn html(snapshot: &Snapshot) -> String {
    let (level, headline) = headline(snapshot);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (headline) " – jetsink serve" }
                noscript { meta http-equiv="refresh" content="5"; }
                style { (PreEscaped(STYLE)) }
            }
            body {
                p id="stale" role="alert" { "The gateway does not answer. This is its last state." }
                main {
                    header {
                        p { "jetsink serve " (snapshot.gateway.version) }
                        h1 class=(level.class()) { i class="dot" {} (headline) }
                    }
                    div class="cards" {
                        (broker(&snapshot.broker))
                        (spool(snapshot.spool.as_ref()))
                        (last_hour(&snapshot.last_hour.all, snapshot.gateway.uptime_seconds))
                    }
                    (charts(&snapshot.last_hour, snapshot.gateway.uptime_seconds))
                    (refusals(&snapshot.refusals))
                    (footer(snapshot))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    with_line_ends(&page.into_string())
}

/// Ends the lines of the source behind its blocks, for programs that show it as text. Texts in the page are escaped, so
/// each tag is one of the page.
fn with_line_ends(page: &str) -> String {
    let mut lines = page.to_owned();
    for end in [
        "</h1>",
        "</h2>",
        "</p>",
        "</dt>",
        "</dd>",
        "</tr>",
        "</figcaption>",
        "</title>",
    ] {
        lines = lines.replace(end, &format!("{end}\n"));
    }
    lines
}

fn headline(snapshot: &Snapshot) -> (Level, String) {
    let Snapshot {
        gateway,
        broker,
        spool,
        ..
    } = snapshot;
    if !gateway.ready {
        return (Level::Bad, format!("Not ready: {}", gateway.readiness));
    }
    let has_spool = spool.is_some();
    let away = match (broker.circuit, &broker.connect_error) {
        (Circuit::Reconnecting, _) => {
            let since = duration(broker.since_seconds);
            Some(format!("Broker away for {since}"))
        }
        (Circuit::Connected, Some(_)) => Some("No connection to the broker".to_owned()),
        (Circuit::Connected, None) => None,
    };
    if let Some(away) = away {
        return match has_spool {
            true => (Level::Warn, format!("{away}: events are spooled")),
            false => (Level::Bad, format!("{away}: events are refused")),
        };
    }
    let worst =
        broker_level(broker, has_spool).max(spool.as_ref().map_or(Level::Good, spool_level));
    match (worst, broker.failing_subject_count, spool) {
        (Level::Good, _, Some(spool)) if spool.events > 0 => {
            let pending = counted(spool.events, "spooled event");
            (Level::Good, format!("Ready, {pending} on the way"))
        }
        (Level::Good, ..) => (Level::Good, "Ready".to_owned()),
        (level, 0, _) => (level, "Ready, and the spool needs a look".to_owned()),
        (level, failing, _) => {
            let verb = if failing == 1 { "fails" } else { "fail" };
            let subjects = counted(failing as u64, "subject");
            (level, format!("Ready, but {subjects} {verb}"))
        }
    }
}

fn broker_level(broker: &BrokerStatus, has_spool: bool) -> Level {
    match (broker.circuit, broker.failing_subject_count) {
        (Circuit::Connected, 0) if broker.connect_error.is_none() => Level::Good,
        (Circuit::Reconnecting, _) if !has_spool => Level::Bad,
        _ => Level::Warn,
    }
}

/// The used part of the limit, from 0 to 1.
fn usage(spool: &Spool) -> f64 {
    spool.used_bytes as f64 / spool.limit_bytes.max(1) as f64
}

/// As the alerts of `deploy/prometheus`.
fn spool_level(spool: &Spool) -> Level {
    let usage = usage(spool);
    match spool {
        _ if usage > 0.95 || spool.damaged > 0 || spool.unreadable_segments > 0 => Level::Bad,
        _ if usage > 0.7 || spool.dead_letters > 0 || spool.held_subjects > 0 => Level::Warn,
        _ => Level::Good,
    }
}

fn broker(broker: &BrokerStatus) -> Markup {
    let level = broker_level(broker, true);
    let since = duration(broker.since_seconds);
    let state = match broker.circuit {
        Circuit::Connected => format!("Circuit closed for {since}"),
        Circuit::Reconnecting => format!("Circuit open for {since}"),
    };
    let more = broker
        .failing_subject_count
        .saturating_sub(broker.failing_subjects.len());
    html! {
        div class={ "card " (level.class()) } id="broker" {
            h2 { "Broker" }
            p class=(level.class()) { i class="dot" {} (state) }
            dl {
                dt { "nats-server" }
                dd { (broker.version.as_deref().map_or("not connected".to_owned(), printable)) }
                @if let Some(error) = &broker.connect_error {
                    dt { "no connection" }
                    dd { (printable(error)) }
                }
                @if broker.circuit == Circuit::Reconnecting {
                    dt { "failed probes" }
                    dd { (broker.failed_probes) }
                }
                dt { "delivered" }
                dd { (counted(broker.delivered, "event")) " since the start" }
                @if let Some(failure) = &broker.last_failure {
                    dt { "last failure" }
                    dd {
                        (printable(&failure.error))
                        @if let Some(subject) = &failure.subject { " (" code { (printable(subject)) } ")" }
                        span class="quiet" { ", " (duration(failure.seconds_ago)) " ago" }
                    }
                }
                @if broker.failing_subject_count > 0 {
                    dt { "failing subjects" }
                    dd {
                        @for (index, subject) in broker.failing_subjects.iter().enumerate() {
                            @if index > 0 { ", " }
                            code { (printable(subject)) }
                        }
                        @if more > 0 { ", and " (counted(more as u64, "other")) }
                    }
                }
            }
        }
    }
}

fn spool(spool: Option<&Spool>) -> Markup {
    let Some(spool) = spool else {
        return html! {
            div class="card plain" id="spool" {
                h2 { "Spool" }
                p { "None" }
                dl {
                    dt { "effect" }
                    dd { "Events are refused while the broker is away. --spool keeps them on the disk." }
                }
            }
        };
    };
    let level = spool_level(spool);
    let state = match spool.events {
        0 => "Empty".to_owned(),
        events => counted(events, "pending event"),
    };
    let usage = usage(spool);
    html! {
        div class={ "card " (level.class()) } id="spool" {
            h2 { "Spool" }
            p class=(level.class()) { i class="dot" {} (state) }
            meter min="0" max="1" low="0.7" high="0.95" optimum="0" value={ (format!("{usage:.4}")) }
                aria-label="used space" {}
            dl {
                dt { "used" }
                dd { (bytes(spool.used_bytes)) " of " (bytes(spool.limit_bytes)) }
                @if let Some(oldest) = spool.oldest_seconds {
                    dt { "oldest event" }
                    dd { (duration(oldest)) " old" }
                }
                @if spool.events > 0 {
                    dt { "subjects" }
                    dd { (count(spool.subjects)) }
                }
                dt { "dead letters" }
                dd { (count(spool.dead_letters)) }
                @for (name, number) in [
                    ("damaged records", spool.damaged),
                    ("possible duplicates", spool.possible_duplicates),
                    ("held subjects", spool.held_subjects),
                    ("unreadable segments", spool.unreadable_segments),
                ] {
                    @if number > 0 {
                        dt { (name) }
                        dd { (count(number)) }
                    }
                }
            }
        }
    }
}

fn last_hour(hour: &Span, uptime_seconds: u64) -> Markup {
    let span = uptime_seconds.clamp(1, MINUTES * 60);
    let per_second = hour.events as f64 / span as f64;
    html! {
        div class="card plain" id="hour" {
            h2 { "Last hour" }
            p { (counted(hour.events, "event")) " accepted" }
            dl {
                dt { "rate" }
                dd { (rate(per_second)) " events/s" }
                dt { "requests" }
                dd { (count(hour.accepted)) " accepted, " (count(hour.refused)) " refused" }
                @if hour.abandoned > 0 {
                    dt { "abandoned" }
                    dd { (counted(hour.abandoned, "request")) }
                }
                dt { "answer time" }
                dd {
                    @match (hour.median_seconds, hour.p99_seconds) {
                        (Some(median), Some(p99)) => { "median " (latency(median)) ", p99 " (latency(p99)) }
                        _ => "no requests"
                    }
                }
            }
        }
    }
}

fn charts(hour: &LastHour, uptime_seconds: u64) -> Markup {
    let of = |value: &dyn Fn(&Span) -> f64| hour.minutes.iter().map(value).collect::<Vec<f64>>();
    let max = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let mut events = of(&|minute| minute.events as f64 / 60.0);
    if let Some(present) = events.last_mut() {
        let elapsed = (uptime_seconds % 60).max(1);
        *present *= 60.0 / elapsed as f64;
    }
    let p99 = of(&|minute| minute.p99_seconds.unwrap_or(0.0));
    let median = of(&|minute| minute.median_seconds.unwrap_or(0.0));
    let refused = of(&|minute| minute.refused as f64);
    let minutes = MINUTES as usize + 1;
    let figure = |name: &str, max: String, key: Markup, series: &[Series]| {
        html! {
            figure {
                figcaption { b { (name) } span { (max) } }
                (bars(series, minutes, &format!("by minute over the last hour: {max}")))
                div class="ends" { span { "an hour ago" } (key) span { "now" } }
            }
        }
    };
    let most = |text: String| format!("at most {text}");
    let events_max = most(rate(max(&events)));
    let p99_max = most(latency(max(&p99)));
    let refused_max = most(count(max(&refused) as u64));
    let series = |class, values| Series { class, values };
    let key = html! { span class="key" { i {} "median" i class="back" {} "p99" } };
    html! {
        section class="charts" aria-label="The last hour by minute" {
            (figure("Events per second", events_max, html! {}, &[series("", events)]))
            (figure("Answer time", p99_max, key, &[series("back", p99), series("", median)]))
            (figure("Refused requests per minute", refused_max, html! {}, &[series("refused", refused)]))
        }
    }
}

fn refusals(all: &[Refusals]) -> Markup {
    html! {
        section id="refusals" {
            h2 { "Refusals of the last hour" }
            @if all.is_empty() {
                p class="quiet" { "None." }
            } @else {
                table class="refusals" {
                    thead {
                        tr {
                            th scope="col" { "problem" }
                            th scope="col" class="number" { "requests" }
                            th scope="col" { "last" }
                            th scope="col" { "its detail" }
                        }
                    }
                    tbody {
                        @for refusals in all {
                            tr {
                                th scope="row" { (refusals.status) " " code { (refusals.problem) } }
                                td class="number" { (count(refusals.count)) }
                                td class="last" { (duration(refusals.seconds_ago)) " ago" }
                                td class="detail quiet" { (printable(&refusals.detail)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn footer(snapshot: &Snapshot) -> Markup {
    html! {
        footer {
            "Started " (duration(snapshot.gateway.uptime_seconds)) " ago. Updated every 2 s. "
            a href="status.json" { "status.json" } " · " a href="metrics" { "metrics" } " · "
            a href="readyz" { "readyz" }
        }
    }
}

#[cfg(test)]
#[path = "tests/page.rs"]
mod tests;
