use std::path::Path;

use super::*;

#[test]
fn bytes_between_line_ends_are_the_payload() {
    let binding = Binding::new("e".parse().unwrap());
    let location = |line| LineLocation {
        file: Path::new("f").into(),
        index: 0,
        line,
        event: None,
    };
    let event = r#"{ "specversion":"1.0","id":"1","source":"s","type":"t" } "#;
    let crlf = format!("{event}\r\n");
    let line = check(crlf.into(), location(2), &binding).unwrap();
    assert_eq!(line.event.unwrap().payload(), event.as_bytes());
    let marked = Bytes::from(format!("\u{feff}{event}\n"));
    assert!(
        check(marked.clone(), location(1), &binding)
            .unwrap()
            .event
            .is_ok()
    );
    assert!(check(marked, location(2), &binding).unwrap().event.is_err());
    assert!(check(Bytes::from_static(b" \t\r\n"), location(1), &binding).is_none());
}
