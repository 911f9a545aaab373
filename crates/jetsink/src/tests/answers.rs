//! The table of pending answers.

use super::*;

fn message() -> Message {
    Message {
        subject: "inbox.1".into(),
        reply: None,
        payload: bytes::Bytes::new(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    }
}

fn connected() -> Answers {
    let answers = Answers::default();
    answers.up(1);
    answers
}

fn end() -> SessionEnd {
    SessionEnd {
        at: Instant::now(),
        is_explained: false,
    }
}

/// Registers a publish of one byte that may have company.
fn publish(
    answers: &Answers,
    session: u64,
    subject: &str,
) -> Result<(u64, oneshot::Receiver<Answer>), PublishError> {
    let registered = answers.register(session, pending(subject, 1, Company::Any));
    Ok(registered?.expect("no other has to be alone"))
}

fn pending(subject: &str, bytes: usize, company: Company) -> Pending {
    Pending {
        subject: subject.into(),
        bytes,
        company,
    }
}

#[test]
fn register_fails_without_a_connection_and_for_an_earlier_session() {
    let answers = Answers::default();
    assert_eq!(
        publish(&answers, 1, "a").err(),
        Some(PublishError::NotConnected)
    );
    answers.up(2);
    assert_eq!(
        publish(&answers, 1, "a").err(),
        Some(PublishError::NotConnected)
    );
    assert!(publish(&answers, 2, "a").is_ok());
}

#[test]
fn down_fails_all_publishes_in_flight_and_drops_the_liveness_check() {
    let answers = connected();
    let (token, mut first) = publish(&answers, 1, "a").unwrap();
    let (_, mut second) = publish(&answers, 1, "b").unwrap();
    answers.begin_check(1, token, "check");
    answers.down(None, end());
    for receiver in [&mut first, &mut second] {
        assert!(matches!(
            receiver.try_recv(),
            Ok(Err(PublishError::ConnectionLost))
        ));
    }
    assert_eq!(answers.in_flight(), 0);
}

#[test]
fn answer_to_a_cancelled_publish_is_a_sign_of_life_and_leaves_no_entry() {
    let answers = connected();
    let (token, receiver) = publish(&answers, 1, "a").unwrap();
    drop(receiver);
    answers.forget(token);
    assert_eq!(answers.arrived(token, message()), Arrival::GivenUp);
    assert_eq!(answers.in_flight(), 0);
}

#[test]
fn one_liveness_check_serves_all_publishes_sent_before_it() {
    let answers = connected();
    let (first, _r1) = publish(&answers, 1, "a").unwrap();
    let (second, _r2) = publish(&answers, 1, "a").unwrap();
    let check = answers.begin_check(1, first, "check").unwrap();
    assert_eq!(answers.begin_check(1, second, "check"), None);
    assert!(!answers.answered_since(second));
    assert_eq!(answers.arrived(check, message()), Arrival::Expected);
    assert!(answers.answered_since(second));
}

#[test]
fn denied_subject_fails_its_own_publishes_only() {
    let answers = connected();
    let (_, mut denied) = publish(&answers, 1, "a").unwrap();
    let (_, mut other) = publish(&answers, 1, "b").unwrap();
    answers.publish_denied(1, "a");
    assert!(matches!(
        denied.try_recv(),
        Ok(Err(PublishError::PermissionDenied))
    ));
    assert!(other.try_recv().is_err());
    assert_eq!(answers.in_flight(), 1);
}

#[test]
fn arrivals_collect_all_answers_of_a_window() {
    let answers = connected();
    let arrivals = Arc::new(Arrivals::default());
    let subject = Subject::new("a").unwrap();
    let first = answers
        .register_in(1, &subject, 9, &arrivals, 0)
        .unwrap()
        .unwrap();
    answers.register_in(1, &subject, 9, &arrivals, 1).unwrap();
    let context = Context::from_waker(std::task::Waker::noop());
    let mut taken = Vec::new();
    arrivals.take(&context, &mut taken);
    assert!(taken.is_empty());
    assert_eq!(answers.arrived(first, message()), Arrival::Expected);
    answers.down(None, end());
    arrivals.take(&context, &mut taken);
    assert!(matches!(
        taken[..],
        [(0, Ok(_)), (1, Err(PublishError::ConnectionLost))]
    ));
}

#[test]
fn largest_publish_in_flight_breaks_the_limit_that_the_server_named() {
    let answers = connected();
    let register = |subject: &str, bytes| {
        let publish = pending(subject, bytes, Company::Any);
        answers.register(1, publish).unwrap().unwrap().1
    };
    let (mut small, mut large) = (register("a.long.subject", 10), register("b", 5_000));
    assert_eq!(answers.down(Some(Limit::Payload), end()), Some(5_000));
    assert!(matches!(
        large.try_recv(),
        Ok(Err(PublishError::EndsConnection { bytes: 5_000, .. }))
    ));
    assert!(matches!(
        small.try_recv(),
        Ok(Err(PublishError::ConnectionLost))
    ));
    assert_eq!(answers.down(Some(Limit::Payload), end()), None);

    answers.up(1);
    let register = |subject: &str, bytes| {
        let publish = pending(subject, bytes, Company::Any);
        answers.register(1, publish).unwrap().unwrap().1
    };
    let (mut long, _large) = (register("a.long.subject", 10), register("b", 5_000));
    assert_eq!(answers.down(Some(Limit::ControlLine), end()), Some(14));
    assert!(matches!(
        long.try_recv(),
        Ok(Err(PublishError::EndsConnection { bytes: 10, .. }))
    ));
}

#[test]
fn limit_that_a_given_up_publish_may_have_broken_condemns_no_other() {
    let answers = connected();
    let register = |subject: &str, bytes| {
        let publish = pending(subject, bytes, Company::Any);
        answers.register(1, publish).unwrap().unwrap()
    };
    let (offender, _) = register("a", 5_000);
    let (_, mut healthy) = register("b", 100);
    answers.forget(offender);
    assert_eq!(answers.down(Some(Limit::Payload), end()), Some(5_000));
    assert!(matches!(
        healthy.try_recv(),
        Ok(Err(PublishError::ConnectionLost))
    ));

    // The server has accepted the one that was given up.
    answers.up(1);
    let (large, _) = register("a", 5_000);
    answers.forget(large);
    let (later, _later) = register("b", 1);
    let (_, mut offender) = register("b", 4_500);
    assert_eq!(answers.arrived(later, message()), Arrival::Expected);
    assert_eq!(answers.down(Some(Limit::Payload), end()), Some(4_500));
    assert!(matches!(
        offender.try_recv(),
        Ok(Err(PublishError::EndsConnection { bytes: 4_500, .. }))
    ));
}

/// A publish that has a turn, unless it must wait.
fn alone(answers: &Answers, turn: u64) -> Option<(u64, oneshot::Receiver<Answer>)> {
    let publish = pending("b", 1, Company::Alone { turn });
    answers.register(1, publish).unwrap()
}

/// Whether a publish finds a place beside others.
fn has_place(answers: &Answers) -> bool {
    let registered = answers.register(1, pending("c", 1, Company::Any)).unwrap();
    registered.is_some()
}

#[test]
fn publish_that_must_be_alone_waits_for_others_and_keeps_them_away_in_its_turn() {
    let answers = connected();
    let (first, _receiver) = publish(&answers, 1, "a").unwrap();
    let turn = answers.begin_turn();
    assert!(alone(&answers, turn).is_none(), "another is in flight");
    assert!(!has_place(&answers));
    assert_eq!(answers.arrived(first, message()), Arrival::Expected);
    let (_token, _receiver) = alone(&answers, turn).unwrap();
    assert!(!has_place(&answers));
    assert!(answers.end_turn(turn), "others waited");
    assert!(has_place(&answers));
    assert!(alone(&answers, turn).is_none(), "its turn is over");
    let next = answers.begin_turn();
    assert!(!answers.end_turn(turn));
    assert!(!has_place(&answers), "the turn of another ended");
    assert!(alone(&answers, turn).is_none());
    assert!(answers.end_turn(next));
}

/// An owner that was not polled kept every other publish away.
#[test]
fn turn_ends_with_the_answer_to_a_later_message_or_with_the_session() {
    let answers = connected();
    for later_is_answered in [true, false] {
        let turn = answers.begin_turn();
        let (_token, _receiver) = alone(&answers, turn).unwrap();
        let check = answers.register(1, pending("b", 1, Company::Check));
        let (check, _receiver) = check.unwrap().unwrap();
        assert!(!has_place(&answers));
        if later_is_answered {
            assert_eq!(answers.arrived(check, message()), Arrival::Expected);
        } else {
            answers.down(None, end());
            answers.up(1);
        }
        assert!(has_place(&answers));
        answers.down(None, end());
        answers.up(1);
    }
}

#[test]
fn processed_publish_without_an_answer_does_not_keep_another_from_being_alone() {
    let answers = connected();
    let (_silent, _receiver) = publish(&answers, 1, "a").unwrap();
    let turn = answers.begin_turn();
    assert!(alone(&answers, turn).is_none());
    let check = answers.register(1, pending("b", 1, Company::Check));
    let (check, _receiver) = check.unwrap().unwrap();
    let (_another_check, _receiver) = answers
        .register(1, pending("b", 1, Company::Check))
        .unwrap()
        .unwrap();
    assert_eq!(answers.arrived(check, message()), Arrival::Expected);
    assert!(alone(&answers, turn).is_some());
}

#[test]
fn refused_check_is_an_answer() {
    let answers = connected();
    let (event, _receiver) = publish(&answers, 1, "a").unwrap();
    let (_, _check) = publish(&answers, 1, "check").unwrap();
    assert!(!answers.answered_since(event));
    answers.publish_denied(1, "check");
    assert!(answers.answered_since(event));
}

#[test]
fn refusal_over_an_earlier_session_fails_no_publish_of_this_one() {
    let answers = connected();
    answers.down(None, end());
    answers.up(2);
    let (_, mut pending) = publish(&answers, 2, "a").unwrap();
    answers.inbox_denied(1, "inbox");
    answers.publish_denied(1, "a");
    assert!(pending.try_recv().is_err());
    assert!(publish(&answers, 2, "a").is_ok());
    answers.inbox_denied(2, "inbox");
    assert!(publish(&answers, 2, "a").is_err());
}

/// While JetStream hung, one tenant without permission made the silence of all others one of their subjects.
#[test]
fn refused_publish_is_no_answer_to_a_liveness_check_of_another_subject() {
    let answers = connected();
    let (silent, _receiver) = publish(&answers, 1, "a").unwrap();
    answers.begin_check(1, silent, "check").unwrap();
    answers.publish_denied(1, "denied");
    assert!(!answers.answered_since(silent));
    assert_eq!(
        answers.begin_check(1, silent, "check"),
        None,
        "it is pending"
    );
    answers.publish_denied(1, "check");
    assert!(answers.answered_since(silent));
}

/// An event that had ended its connection was cleared by an answer over the next one.
#[test]
fn answer_over_a_later_session_proves_nothing_about_an_ended_one() {
    let answers = connected();
    let explained = |is_explained| SessionEnd {
        is_explained,
        ..end()
    };
    let (processed, _receiver) = publish(&answers, 1, "a").unwrap();
    let (check, _receiver) = publish(&answers, 1, "check").unwrap();
    let (ended, _receiver) = publish(&answers, 1, "a").unwrap();
    assert_eq!(answers.arrived(check, message()), Arrival::Expected);
    let first_end = explained(false);
    answers.down(None, first_end);
    assert_eq!(answers.end_of_session(ended), Some(first_end));
    assert!(answers.answered_since(processed) && !answers.answered_since(ended));
    for session in 2..10 {
        answers.up(session);
        let (newer, _receiver) = publish(&answers, session, "a").unwrap();
        assert_eq!(answers.arrived(newer, message()), Arrival::Expected);
        assert!(answers.answered_since(processed) && !answers.answered_since(ended));
        assert_eq!(answers.end_of_session(ended), Some(first_end));
        assert_eq!(answers.end_of_session(newer), None);
        answers.down(None, explained(true));
        // Again, as by the watchdog.
        answers.down(None, explained(false));
        assert!(answers.end_of_session(newer).unwrap().is_explained);
    }
    for session in 10..100 {
        answers.up(session);
        answers.down(None, end());
    }
    assert_eq!(answers.end_of_session(ended), None);
    assert!(
        !answers.answered_since(processed),
        "it is not known any more"
    );
}
