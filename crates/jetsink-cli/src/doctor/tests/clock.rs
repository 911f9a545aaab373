use super::*;

#[test]
fn clocks_that_differ_are_reported() {
    let server: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let later = |seconds: i64| Timestamp::from_second(server.as_second() + seconds).unwrap();
    assert_eq!(skew(server, later(1)), None);
    let text = skew(server, later(3)).unwrap().text;
    assert_eq!(text, "the clock here is 3.0 s ahead of the server's");
    let text = skew(server, later(-60)).unwrap().text;
    assert!(text.contains("60.0 s behind"), "{text}");
}
