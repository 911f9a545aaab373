//! Recognises input of another format, and names the flag or command that helps.

use jetsink::event::CloudEvent;

/// Beginnings of files that are no text, and the command that makes text of them.
const BINARY: [(&[u8], &str); 8] = [
    (b"BZh", "bzip2; decompress it with `bzcat`"),
    (b"\xFD7zXZ\0", "xz; decompress it with `xzcat`"),
    (b"\x04\x22\x4D\x18", "lz4; decompress it with `lz4cat`"),
    (b"PK\x03\x04", "zip; unpack it with `unzip -p`"),
    (
        b"\xFF\xFE",
        "UTF-16; convert it with `iconv -f utf-16 -t utf-8`",
    ),
    (
        b"\xFE\xFF",
        "UTF-16; convert it with `iconv -f utf-16 -t utf-8`",
    ),
    (b"Obj\x01", "Avro; convert it with `avro-tools tojson`"),
    (b"PAR1", "Parquet; convert it to JSON lines"),
];

/// Starts of lines of text formats.
const TEXT: [(&[u8], &str); 7] = [
    (
        b"data:",
        "server-sent events; `sed -n 's/^data: *//p'` keeps the data",
    ),
    (
        b"event:",
        "server-sent events; `sed -n 's/^data: *//p'` keeps the data",
    ),
    (b"<?xml", "XML; convert it to JSON lines"),
    (
        b"<",
        "XML, or a line of syslog; cut off the part before the event",
    ),
    (b"---", "YAML; convert it with `yq -o json`"),
    (b"specversion:", "YAML; convert it with `yq -o json`"),
    (
        b"#",
        "a comment; remove it, for example with `grep -v '^#'`",
    ),
];

/// Members of a row of a CellOS audit trail. Its other members could be attributes of an event.
const ROW: [&str; 3] = ["body", "prev_hash", "row_hash"];

/// Members of JSON objects that contain an event, and the command that takes it out.
const WRAPPED: [(&[&str], &str); 6] = [
    (
        &ROW,
        "a row of a CellOS audit trail; --format cellos-audit-trail verifies and publishes it",
    ),
    (
        &["log", "stream"],
        "a log line of Docker; `jq -r .log` takes the event out",
    ),
    (
        &["MESSAGE", "_HOSTNAME"],
        "an entry of journald; `journalctl -o cat` prints the event alone",
    ),
    (
        &["detail-type", "detail"],
        "an event of EventBridge; map it to a CloudEvent, for example with `jq`",
    ),
    (
        &["sequence", "event"],
        "output of `jetsink tail --json` or `spool export --json`; `jq -c .event` takes the event out",
    ),
    (
        &["index", "event"],
        "output of `jetsink spool export --json`; leave --json out",
    ),
];

/// The hint for a line that is no event, or for the first bytes of one; `None` if it looks like nothing known.
pub(super) fn hint(line: &[u8], is_first: bool) -> Option<String> {
    let looks_like = |format: &str| Some(format!("it looks like {format}"));
    let begins = |start: &[u8]| line.starts_with(start);
    if is_first && let Some((_, format)) = BINARY.iter().find(|(start, _)| begins(start)) {
        return looks_like(format);
    }
    let text = line.trim_ascii();
    let several = "--format json reads it";
    match text {
        [0x1E, ..] => return looks_like(&format!("a JSON text sequence; {several}")),
        [b'[', ..] => return looks_like(&format!("an array of events; {several}")),
        [b'{'] | [b'}' | b']', ..] => {
            return looks_like(&format!("a part of an event over several lines; {several}"));
        }
        [b'{', b'\'', ..] => {
            return looks_like("a Python dictionary; write it with `json.dumps`");
        }
        [b'{', .., b','] => return looks_like(&format!("a part of an array; {several}")),
        [b'{', ..] => return object_hint(text, several),
        [b'"', ..] if text.ends_with(b",") || text.ends_with(b"{") || text.ends_with(b"[") => {
            return looks_like(&format!("a part of an event over several lines; {several}"));
        }
        _ => {}
    }
    if let Some((_, format)) = TEXT.iter().find(|(start, _)| text.starts_with(start)) {
        return looks_like(format);
    }
    if text.contains(&0) || std::str::from_utf8(text).is_err() {
        return looks_like("binary data, or text that is not UTF-8");
    }
    // A prefix before an event.
    let at = memchr::memchr(b'{', text)?;
    let event = CloudEvent::from_json_with(&text[at..], jetsink::Validation::Lenient);
    event
        .is_ok()
        .then(|| "there is text before an event; `sed 's/^[^{]*//'` removes it".to_owned())
}

/// Whether the line is a row of an audit trail, which leniency makes no event.
pub(super) fn is_row(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line)
        .is_ok_and(|object| ROW.iter().all(|name| object.contains_key(*name)))
}

/// The hint for a line that begins with an object.
fn object_hint(text: &[u8], several: &str) -> Option<String> {
    let mut values = serde_json::Deserializer::from_slice(text)
        .into_iter::<serde_json::Map<String, serde_json::Value>>();
    match values.next() {
        Some(Ok(object)) => {
            let rest = text[values.byte_offset()..].trim_ascii_start();
            if rest.starts_with(b"{") || rest.starts_with(b"[") {
                return Some(format!(
                    "it looks like several events on one line; {several}"
                ));
            }
            let has = |name: &&str| object.contains_key(*name);
            let wrapped = WRAPPED.iter().find(|(members, _)| members.iter().all(has));
            wrapped.map(|(_, format)| format!("it looks like {format}"))
        }
        Some(Err(error)) if error.is_eof() => Some(format!(
            "it ends within an event: cut off, or over several lines; then {several}"
        )),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests/foreign.rs"]
mod tests;
