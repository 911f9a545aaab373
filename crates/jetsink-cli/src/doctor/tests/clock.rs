use super::*;

#[test]
fn clocks_that_differ_are_reported() {
    let server: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let later = |seconds: i64| Timestamp::from_second(server.as_second() + seconds).unwrap();
    let found = |seconds| Some(ConnectionFinding::ClockSkew { seconds });
    assert_eq!(skew(server, later(1)), None);
    assert_eq!(skew(server, later(3)), found(3.0));
    assert_eq!(skew(server, later(-60)), found(-60.0));
}
