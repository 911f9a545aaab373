use super::*;
use crate::drill::report::example;

#[test]
fn control_and_direction_characters_are_replaced() {
    let mut record = example::drill();
    record.about.command = "a\0b\u{1b}[1m\u{202e}\u{fffe}\n<é>".to_owned();
    let printable = printable(&record);
    assert_eq!(
        printable.about.command,
        "a\u{fffd}b\u{fffd}[1m\u{fffd}\u{fffd}\n<é>"
    );
}
