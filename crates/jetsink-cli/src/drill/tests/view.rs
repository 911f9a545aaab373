use super::*;

#[test]
fn lines_fit_80_columns_and_their_number_is_constant() {
    let mut frame = Frame {
        at: Duration::from_secs(83),
        end: Duration::from_secs(3_600),
        now: "leader cut off, for 10 s".to_owned(),
        contenders: vec![
            Row {
                name: "jetsink with a spool",
                per_second: 9_999.6,
                median: Some(0.000_412_3),
                longest: Some(15.503_2),
                circuit: Some(CircuitState::Reconnecting),
                spooled: Some(123_456),
                ok: 1_234_567,
                failed: 999_999,
            },
            Row {
                name: "plain async-nats",
                ..Row::default()
            },
        ],
        ..Frame::default()
    };
    let height = frame.lines().len();
    for number in 0..9 {
        frame.notes.push(format!("note {number}"));
    }
    let lines = frame.lines();
    assert_eq!(lines.len(), height);
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{lines:#?}"
    );
    assert!(
        lines[2].contains("15.5 s") && lines[2].contains("123,456"),
        "{}",
        lines[2]
    );
    assert_eq!(lines.last().map(String::as_str), Some("note 8"));
}
