use super::*;

fn event(number: u32) -> String {
    format!(r#"{{"type":"{TYPE_PREFIX}command.v1.completed","id":"{number}"}}"#)
}

fn baseline() -> String {
    format!(r#"{{"type":"{TYPE_PREFIX}{BASELINE}"}}"#)
}

fn emitted() -> Vec<Emitted> {
    let events = [event(1), event(2), baseline(), baseline()];
    let one = |text: &String| Emitted {
        key: key(&serde_json::from_str(text).unwrap()),
        subject: "s".to_owned(),
    };
    events.iter().map(one).collect()
}

fn stored(events: &[String]) -> Vec<StoredMessage> {
    let messages = events.iter().zip(1..);
    messages
        .map(|(payload, sequence)| StoredMessage {
            sequence,
            subject: "s".to_owned(),
            message_id: None,
            headers: Default::default(),
            payload: payload.clone().into(),
        })
        .collect()
}

#[test]
fn planted_loss_duplicate_swap_unmatched_event_and_wrong_subject_are_each_found() {
    let tally = |events: &[String]| compare(&emitted(), &[], &stored(events)).unwrap();
    assert!(tally(&[event(1), event(2), baseline(), baseline()]).is_clean());
    assert_eq!(
        tally(&[event(1), event(2), baseline()]).findings.lost,
        [BASELINE]
    );
    let twice = [event(1), event(1), event(2), baseline(), baseline()];
    assert_eq!(tally(&twice).findings.duplicated.len(), 1);
    let swapped = [event(2), event(1), baseline(), baseline()];
    assert_eq!(tally(&swapped).out_of_place(), 1);
    let unmatched = [event(1), event(2), baseline(), baseline(), event(3)];
    assert_eq!(tally(&unmatched).findings.unexpected.len(), 1);
    let mut elsewhere = stored(&[event(1), event(2), baseline(), baseline()]);
    elsewhere[1].subject = "other".to_owned();
    let elsewhere = compare(&emitted(), &[], &elsewhere).unwrap();
    assert_eq!(elsewhere.out_of_place(), 1);
    assert!(!Tally::default().is_clean(), "an empty tally is no success");
}

#[test]
fn a_dead_letter_is_not_lost_and_members_may_change_places() {
    let dead =
        [serde_json::json!({ "id": "2", "type": format!("{TYPE_PREFIX}command.v1.completed") })];
    let stored = stored(&[event(1), baseline(), baseline()]);
    let tally = compare(&emitted(), &dead, &stored).unwrap();
    assert!(tally.is_clean(), "{tally:?}");
    assert_eq!(tally.dead_letters, 1);
}
