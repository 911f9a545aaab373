use super::*;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

#[test]
fn each_known_format_is_named_with_a_remedy() {
    for (line, expected) in [
        (
            format!("[{EVENT}]").as_bytes(),
            "an array of events; --format json",
        ),
        (b"[", "an array of events"),
        (b"{", "over several lines; --format json"),
        (b"  \"id\": \"1\",", "over several lines"),
        (b"}", "over several lines"),
        (
            format!("{EVENT},").as_bytes(),
            "a part of an array; --format json",
        ),
        (
            format!("{EVENT}{EVENT}").as_bytes(),
            "several events on one line; --format json",
        ),
        (&EVENT.as_bytes()[..20], "it ends within an event"),
        (format!("\u{1e}{EVENT}").as_bytes(), "a JSON text sequence"),
        (format!("data: {EVENT}").as_bytes(), "server-sent events"),
        (b"BZh91AY", "`bzcat`"),
        (b"\xFD7zXZ\0abc", "`xzcat`"),
        (b"PK\x03\x04", "`unzip -p`"),
        (b"\xFF\xFE{\0", "`iconv -f utf-16"),
        (b"{'id': '1'}", "Python"),
        (b"<event/>", "XML"),
        (b"---", "`yq -o json"),
        (b"specversion: 1.0", "`yq -o json"),
        (b"- id: a", "`yq -o json"),
        (b"  - specversion: '1.0'", "`yq -o json"),
        (b"events:", "`yq -o json"),
        (b"id,source,type", "`mlr --icsv"),
        (b"\"id\",\"source\"", "`mlr --icsv"),
        (b"1,/shop,{x}", "`mlr --icsv"),
        (b"id;source;type", "--ifs ';'"),
        (b"id\tsource\ttype", "`mlr --itsv"),
        (b"# comment", "`grep -v"),
        (b"{\"log\":\"x\",\"stream\":\"stdout\"}", "`jq -r .log`"),
        (b"{\"sequence\":1,\"event\":{}}", "`jq -c .event`"),
        (
            b"{\"body\":{},\"prev_hash\":\"0\",\"row_hash\":\"1\"}",
            "--format cellos-audit-trail",
        ),
        (
            format!("2026-11-30T00:00:00Z stdout F {EVENT}").as_bytes(),
            "text before an event",
        ),
        (b"\x80\x81", "not UTF-8"),
    ] {
        let hint = hint(line, true).unwrap_or_default();
        assert!(hint.contains(expected), "{}: {hint}", line.escape_ascii());
    }
    for line in [
        &b"just text"[..],
        b"{\"id\":\"1\"}",
        b"one, two, three",
        b"id:x",
        b"note: y",
        b"http://host/path",
        b"1",
    ] {
        assert_eq!(hint(line, true), None, "{}", line.escape_ascii());
    }
}
