use super::*;

fn of(rest: &str) -> Hash {
    let json = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{rest}}}"#);
    Meanings::new().unwrap().of(&json.into()).unwrap()
}

#[test]
fn events_with_the_same_content_have_one_meaning() {
    for (one, other) in [
        (
            r#","data":{"a":1,"b":[1, "x"]}"#,
            r#", "data": {"b":[1,"\u0078"],"a":1}"#,
        ),
        (r#","time":null"#, ""),
        (
            r#","number":7,"flag":true"#,
            r#","flag":"true","number":"7""#,
        ),
        (r#","data":null"#, r#","data": null"#),
    ] {
        assert_eq!(of(one), of(other), "{one} {other}");
    }
}

#[test]
fn events_with_different_content_differ_in_meaning() {
    for (one, other) in [
        (r#","data":{"a":1}"#, r#","data":{"a":2}"#),
        (
            r#","data":12345678901234567890123"#,
            r#","data":12345678901234567890124"#,
        ),
        (r#","data":[1,2]"#, r#","data":[2,1]"#),
        (r#","data":"1""#, r#","data":1"#),
        (r#","ext":"a""#, r#","ext":"b""#),
        (r#","data":{"a":{"b":"c"}}"#, r#","data":{"a":{"b":"d"}}"#),
    ] {
        assert_ne!(of(one), of(other), "{one} {other}");
    }
    let deep = |end: &str| format!(",\"data\":{}{end}{}", "[".repeat(120), "]".repeat(120));
    assert_ne!(of(&deep("1")), of(&deep("2")));
    assert!(
        Meanings::new()
            .unwrap()
            .of(&Bytes::from_static(b"{}"))
            .is_none()
    );
}
