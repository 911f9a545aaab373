//! Recognises input of another format, and names the flag or command that helps.

use jetsink::CloudEvent;

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
const TEXT: [(&[u8], &str); 6] = [
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
    (b"---", YAML),
    (
        b"#",
        "a comment; remove it, for example with `grep -v '^#'`",
    ),
];

const YAML: &str = "YAML; convert it with `yq -o json -I 0`, one event per line";

/// Keys at the beginning of an event, or of a list of events, in YAML.
const YAML_KEYS: [&[u8]; 10] = [
    b"specversion",
    b"id",
    b"source",
    b"type",
    b"subject",
    b"time",
    b"datacontenttype",
    b"dataschema",
    b"data",
    b"events",
];

/// Separators of tables, and the command that makes events of rows.
const TABLES: [(u8, &str); 3] = [
    (
        b'\t',
        "tab-separated values; convert each row to an event, for example with `mlr --itsv --ojsonl`",
    ),
    (
        b';',
        "values separated by semicolons; convert each row to an event, for example with `mlr --icsv --ifs ';' --ojsonl`",
    ),
    (
        b',',
        "comma-separated values; convert each row to an event, for example with `mlr --icsv --ojsonl`",
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
    if let Some(at) = memchr::memchr(b'{', text)
        && CloudEvent::from_json_with(&text[at..], jetsink::Validation::Lenient).is_ok()
    {
        return Some("there is text before an event; `sed 's/^[^{]*//'` removes it".to_owned());
    }
    if is_yaml(text) {
        return looks_like(YAML);
    }
    let (_, format) = TABLES
        .iter()
        .find(|(separator, _)| is_table(text, *separator))?;
    looks_like(format)
}

/// Whether the line has the name of an attribute, or of a list of events, as a key of YAML.
fn is_yaml(text: &[u8]) -> bool {
    let entry = text.strip_prefix(b"- ").unwrap_or(text).trim_ascii();
    let colon = entry.iter().position(|byte| *byte == b':');
    let Some((key, [_, value @ ..])) = colon.map(|colon| entry.split_at(colon)) else {
        return false;
    };
    let ends_key = value.first().is_none_or(u8::is_ascii_whitespace);
    ends_key && YAML_KEYS.contains(&key)
}

/// Whether the line has at least two fields between separators, as a row of a table. Separators in prose are followed by
/// a space.
fn is_table(text: &[u8], separator: u8) -> bool {
    let fields = text.split(|byte| *byte == separator);
    let begins_with_space = |field: &[u8]| separator != b'\t' && field.first() == Some(&b' ');
    fields.clone().count() > 1
        && fields
            .clone()
            .skip(1)
            .all(|field| !begins_with_space(field))
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
