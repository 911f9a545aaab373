use super::*;

#[test]
fn times_are_as_people_write_them() {
    assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
    assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
    for wrong in ["", "5", "s", "-1s", "1y", "1.2.3s", "99999999999999999999h"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
    // Longer times would overflow a clock.
    assert!(parse_duration("365000d").is_ok());
    assert!(
        parse_duration("365001d")
            .unwrap_err()
            .contains("1,000 years")
    );
}

#[test]
fn sizes_are_as_people_write_them() {
    assert_eq!(parse_bytes("4096"), Ok(4_096));
    assert_eq!(parse_bytes("1.5 GiB"), Ok(3 << 29));
    assert_eq!(parse_bytes("20MB"), Ok(20_000_000));
    for wrong in ["", "0", "MB", "-1", "5 apples", "1e9", "99999999GiB"] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn limit_of_a_spool_has_room_for_an_event() {
    assert_eq!(parse_spool_limit("4KiB"), Ok(4_096));
    assert_eq!(parse_spool_limit("1073741824"), Ok(1 << 30));
    for wrong in ["10", "512", "4KB", "x"] {
        assert!(parse_spool_limit(wrong).is_err(), "{wrong}");
    }
}
