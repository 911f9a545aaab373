use super::*;

fn a_run() -> Vec<StoredMessage> {
    let events = EVENTS_OF_A_RUN.iter().zip(1_u64..);
    events
        .map(|((event_type, tenant), sequence)| StoredMessage {
            sequence,
            subject: format!("cellos.events.{tenant}"),
            // Two sinks: the receipts before the run have their own.
            message_id: Some(match sequence {
                1 => "a.1".to_owned(),
                _ => format!("b.{}", sequence - 1),
            }),
            headers: Default::default(),
            payload: format!(r#"{{"type":"{TYPE_PREFIX}{event_type}"}}"#).into(),
        })
        .collect()
}

#[test]
fn planted_loss_swap_duplicate_unmatched_event_and_wrong_tenant_are_each_found() {
    check(&a_run()).unwrap();
    let plants: [fn(&mut Vec<StoredMessage>); 6] = [
        |run| drop(run.pop()),
        |run| drop(run.remove(0)),
        |run| run.swap(4, 5),
        |run| run.push(run[10].clone()),
        |run| run[3].message_id = None,
        |run| run[10].subject = "cellos.events.other".to_owned(),
    ];
    for (number, plant) in plants.iter().enumerate() {
        let mut run = a_run();
        plant(&mut run);
        assert!(check(&run).is_err(), "plant {number}");
    }
}
