//! The page: the verdict first, then what was done, then what was seen over time.

use super::axes::Axes;
use super::verdict::{ContenderVerdict, headline};
use super::{PALETTE, contender_class, plots};
use crate::drill::format::{Text, count, digits, duration};
use crate::drill::record::{Check, ContenderRecord, Record};

/// One file that needs no other and runs nothing: were a text to slip through as markup after all, the
/// policy would keep it from running or loading anything.
pub(crate) fn html(record: &Record) -> String {
    let style = [PALETTE, include_str!("style.css")].concat();
    let headline = headline(record);
    let axes = Axes::of(record);
    let started = Text(&record.about.started);
    let verdicts: String = record
        .contenders
        .iter()
        .enumerate()
        .map(|(index, contender)| verdict(record, index, contender))
        .collect();
    let overview = plots::overview(record, &axes);
    let contenders: String = record
        .contenders
        .iter()
        .enumerate()
        .map(|(index, contender)| {
            let (class, name) = (contender_class(index), Text(&contender.name));
            let plots = plots::contender(record, &axes, index, contender);
            format!("<section class='{class}'>\n<h2><i class='swatch'></i>{name}</h2>\n{plots}</section>\n")
        })
        .collect();
    let headline = Text(&headline);
    let (about, faults) = (about(record), faults(record));
    format!(
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'/>\n\
         <meta name='viewport' content='width=device-width, initial-scale=1'/>\n\
         <meta name='color-scheme' content='light dark'/>\n\
         <meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>jetsink drill: {headline}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p>jetsink drill of <time>{started}</time></p>\n<h1>{headline}</h1>\n</header>\n\
         <div class='verdicts'>\n{verdicts}</div>\n<div class='facts'>\n{about}{faults}</div>\n\
         <section>\n<h2>All contenders</h2>\n{overview}\
         <p class='note'>Grey: a fault. A gap in a line: nothing was seen there, such as the stream while its \
         broker is down, or a median while no emit ends.</p>\n</section>\n{contenders}</main>\n</body>\n</html>\n"
    )
}

fn verdict(record: &Record, index: usize, contender: &ContenderRecord) -> String {
    let verdict = ContenderVerdict::of(record, contender);
    let (class, name) = (contender_class(index), Text(&contender.name));
    let (kind, words) = (verdict.class(), verdict.text());
    let rows: String = contender.checks.iter().map(check).collect();
    format!(
        "<section class='verdict {class}'>\n<h2><i class='swatch'></i>{name}</h2>\n\
         <p class='{kind}'>{words}</p>\n<table>\n<thead><tr><th scope='col'>check</th>\
         <th scope='col'>seen</th><th scope='col'>bound</th><th scope='col'>mark</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</section>\n"
    )
}

fn check(check: &Check) -> String {
    let seen = unbroken(&check.seen);
    let (name, seen) = (Text(&check.name), Text(&seen));
    let (class, mark) = match check.kept {
        Some(true) => ("kept", "✓ kept"),
        Some(false) => ("broken", "✗ broken"),
        // A value without a bound spans all three columns.
        None if check.bound.is_none() => {
            return format!("<tr><th scope='row'>{name}</th><td colspan='3'>{seen}</td></tr>\n");
        }
        None => ("neutral", ""),
    };
    let bound = short(check.bound.as_deref().unwrap_or(""));
    let bound = Text(&bound);
    format!(
        "<tr><th scope='row'>{name}</th><td>{seen}</td><td>{bound}</td><td class='{class}'>{mark}</td></tr>\n"
    )
}

/// A bound in a narrow column.
fn short(bound: &str) -> String {
    match bound.strip_prefix("at most ") {
        Some(most) => format!("≤\u{a0}{}", unbroken(most)),
        None => unbroken(bound),
    }
}

/// A number stays on one line with its unit.
fn unbroken(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((number, unit)) if unit.chars().count() <= 3 => format!("{number}\u{a0}{unit}"),
        _ => text.to_owned(),
    }
}

fn about(record: &Record) -> String {
    let about = &record.about;
    let servers = match about.servers {
        // They are somebody else's.
        0 => "which the drill did nothing to".to_owned(),
        1 => "one server".to_owned(),
        servers => format!("{servers} servers"),
    };
    let load = format!(
        "{} events/s of {} bytes in each contender, {} in all; one emit takes {} at the most; sampled each {}",
        digits(about.rate),
        count(about.payload_bytes as u64),
        duration(about.seconds),
        duration(about.deadline_seconds),
        duration(about.tick_seconds),
    );
    let (command, jetsink, nats) = (
        Text(&about.command),
        Text(&about.jetsink),
        Text(&about.nats_server),
    );
    format!(
        "<section>\n<h2>To repeat it</h2>\n<pre><code>{command}</code></pre>\n<dl>\n\
         <dt>versions</dt><dd>jetsink {jetsink}, nats-server {nats} ({servers})</dd>\n\
         <dt>load</dt><dd>{load}</dd>\n</dl>\n</section>\n"
    )
}

fn faults(record: &Record) -> String {
    if record.faults.is_empty() {
        return "<section>\n<h2>Faults</h2>\n<p>None.</p>\n</section>\n".to_owned();
    }
    let row = |(index, fault): (usize, &crate::drill::record::Fault)| {
        let (number, name) = (index + 1, Text(&fault.name));
        let (from, until) = (duration(fault.from), duration(fault.until));
        let lasted = duration(fault.until - fault.from);
        format!(
            "<tr><td>{number}</td><th scope='row'>{name}</th><td>{from}</td><td>{until}</td><td>{lasted}</td></tr>\n"
        )
    };
    let rows: String = record.faults.iter().enumerate().map(row).collect();
    format!(
        "<section>\n<h2>Faults</h2>\n<table class='faults'>\n<thead><tr><th scope='col'>no.</th>\
         <th scope='col'>fault</th><th scope='col'>from</th><th scope='col'>until</th>\
         <th scope='col'>for</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</section>\n"
    )
}
