use super::*;

#[test]
fn nothing_that_acts_on_a_terminal_gets_through() {
    assert_eq!(
        harmless("a\u{1b}[31m\n\t\r\u{7}\u{9b}\u{202e}\u{2028}\u{200b}\\n \"ü\" 日 'x'"),
        "a\\u{1b}[31m\\n\\t\\r\\u{7}\\u{9b}\\u{202e}\\u{2028}\\u{200b}\\\\n \"ü\" 日 'x'"
    );
    assert_eq!(harmless_start(b"a\xff\x1b\0", 40), "a\\xff\\u{1b}\\0");
    assert_eq!(harmless_start("äöü".as_bytes(), 2), "äö…");
    assert_eq!(harmless_start(&[b'x'; 1_000], 3), "xxx…");
    assert_eq!(harmless_start(b"", 3), "");
}

#[test]
fn escaped_json_means_the_same() {
    let json = "{\"a\":\"\u{9b}31m\u{7f}\u{202e}ü日\u{e0001}\\u001b\"}";
    let shown = harmless_json(json);
    assert_eq!(
        shown,
        r#"{"a":"\u009b31m\u007f\u202eü日\udb40\udc01\u001b"}"#
    );
    let read = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(&shown), read(json));
}

#[test]
fn column_keeps_its_width_for_any_content() {
    assert_eq!(fitted("abc", 5, Cut::End), "abc  ");
    assert_eq!(fitted("abcdef", 4, Cut::End), "abc…");
    assert_eq!(fitted("abcdef", 4, Cut::Beginning), "…def");
    assert_eq!(fitted("日本語", 4, Cut::End), "日… ");
    assert_eq!(fitted("日本語", 5, Cut::Beginning), "…本語");
    for width in 1..9 {
        for cut in [Cut::End, Cut::Beginning] {
            assert_eq!(measure_text_width(&fitted("日a本b語c", width, cut)), width);
        }
    }
}
