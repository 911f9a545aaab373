use super::*;

#[test]
fn a_moment_is_so_long_ago_or_a_time_of_the_clock() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let at = |text| parse_moment(text).unwrap().resolve(now);
    assert_eq!(at("10m"), SystemTime::UNIX_EPOCH + Duration::from_secs(400));
    assert_eq!(at("99999d"), SystemTime::UNIX_EPOCH);
    let clock = SystemTime::UNIX_EPOCH + Duration::from_millis(3_600_500);
    assert_eq!(at("1970-01-01T02:00:00.5+01:00"), clock);
    for wrong in ["", "10", "yesterday", "2026-11-27", "2026-11-27T10:00:00"] {
        assert!(parse_moment(wrong).is_err(), "{wrong}");
    }
}
