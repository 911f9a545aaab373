//! Random histories of publishes in flight, compared with a plain list. No publish is sent without a connection
//! or over an earlier one. Each publish gets exactly one answer, its own. When the connection ends, all publishes
//! in flight fail. No entry remains.

use std::collections::HashMap;

use async_nats::Message;
use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;
use trial::{Dice, Trial};

use crate::nats::answers::{Answer, Answers, Arrival, Pending, SessionEnd};
use crate::nats::company::Company;
use crate::outcome::PublishError;

const SUBJECTS: [&str; 2] = ["a", "b"];

/// How a publish in the list is to end.
type Ending = Result<String, PublishError>;

#[derive(Default)]
struct Plain {
    session: Option<u64>,
    denied: bool,
    waiting: HashMap<u64, &'static str>,
    /// The publishes that ended without being given up.
    ended: HashMap<u64, Ending>,
}

impl Plain {
    fn end(&mut self, which: impl Fn(&str) -> bool, ending: &Ending) {
        let ended: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, s)| which(s))
            .map(|(t, _)| *t)
            .collect();
        for token in ended {
            self.waiting.remove(&token);
            self.ended.insert(token, ending.clone());
        }
    }
}

fn message(token: u64) -> Message {
    Message {
        subject: format!("inbox.{token}").into(),
        reply: None,
        payload: bytes::Bytes::new(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    }
}

fn history(dice: &mut Dice) {
    let answers = Answers::default();
    let mut plain = Plain::default();
    let mut receivers: HashMap<u64, Receiver<Answer>> = HashMap::new();
    let mut sessions = 0;
    let end = SessionEnd {
        at: Instant::now(),
        is_explained: false,
    };
    let inbox = PublishError::InboxDenied {
        inbox: "inbox".to_owned(),
    };
    for _ in 0..dice.below(200) {
        match dice.weighted(&[10, 6, 2, 2, 2, 1, 1]) {
            0 => {
                let subject = *dice.one_of(&SUBJECTS);
                // Over the newest, or over one that was left or is not there yet.
                let over = (sessions + dice.below(3)).saturating_sub(1);
                let expected = match plain.session {
                    Some(there) if there == over && plain.denied => Err(inbox.clone()),
                    Some(there) if there == over => Ok(()),
                    _ => Err(PublishError::NotConnected),
                };
                let publish = Pending {
                    subject: subject.into(),
                    bytes: 1,
                    company: Company::Any,
                };
                let registered = answers.register(over, publish);
                let registered = registered.map(|token| token.expect("no other must be alone"));
                let told = registered.as_ref().map(|_| ()).map_err(Clone::clone);
                assert_eq!(
                    told, expected,
                    "over {over}, and {:?} is there",
                    plain.session
                );
                if let Ok((token, receiver)) = registered {
                    receivers.insert(token, receiver);
                    plain.waiting.insert(token, subject);
                }
            }
            1 => {
                let token = dice.below(receivers.len() as u64 + 3);
                let expected = match plain.waiting.remove(&token) {
                    Some(_) => {
                        plain.ended.insert(token, Ok(format!("inbox.{token}")));
                        Arrival::Expected
                    }
                    None => Arrival::GivenUp,
                };
                assert_eq!(answers.arrived(token, message(token)), expected);
            }
            2 => {
                let token = dice.below(receivers.len() as u64 + 1);
                if plain.waiting.remove(&token).is_some() {
                    receivers.remove(&token);
                    answers.forget(token);
                }
            }
            3 => {
                plain.session = None;
                plain.end(|_| true, &Err(PublishError::ConnectionLost));
                answers.down(None, end);
            }
            4 => {
                sessions += 1;
                (plain.session, plain.denied) = (Some(sessions), false);
                // The publishes in flight over the last connection have failed by then.
                plain.end(|_| true, &Err(PublishError::ConnectionLost));
                answers.down(None, end);
                answers.up(sessions);
            }
            5 => {
                let subject = *dice.one_of(&SUBJECTS);
                plain.end(|of| of == subject, &Err(PublishError::PermissionDenied));
                answers.publish_denied(sessions, subject);
            }
            _ => {
                plain.denied = true;
                plain.end(|_| true, &Err(inbox.clone()));
                answers.inbox_denied(sessions, "inbox");
            }
        }
        assert_eq!(answers.in_flight(), plain.waiting.len());
    }
    for (token, mut receiver) in receivers {
        let answer = receiver.try_recv().ok();
        let answer = answer.map(|answer| answer.map(|message| message.subject.to_string()));
        assert_eq!(answer.as_ref(), plain.ended.get(&token), "of {token}");
    }
}

#[test]
fn random_histories_match_a_plain_list_of_pending_answers() {
    Trial::new("connection", 2_000).run(history);
}
