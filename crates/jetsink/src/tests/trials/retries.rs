//! Retries: their number, their waits, and the deadline. The expectation is computed from the script alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};
use trial::{Dice, Trial};

use crate::circuit::State;
use crate::outcome::{Acknowledgement, EmitError, Known, PublishError};
use crate::publish::retry::wait_before_retry;
use crate::publisher::Publisher;
use crate::{Envelope, Sink, SinkSettings, Subject, with_retry};

/// After failure number 0, 1, …; after these, for ever the last.
const WAITS_IN_MS: [u64; 9] = [
    100, 400, 1_600, 6_400, 25_600, 102_400, 409_600, 1_638_400, 3_600_000,
];

fn wait(failure: usize) -> Duration {
    Duration::from_millis(WAITS_IN_MS[failure.min(WAITS_IN_MS.len() - 1)])
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// How one attempt ends, and after how long.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    takes: Duration,
    ends: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stored,
    /// It may work a moment later.
    NotNow,
    Never,
    /// May be stored, and can't be tried again.
    Unknown,
    /// Fails with an unknown outcome, and may be retried.
    UnknownForNow,
}

impl End {
    fn is_tried_again(self) -> bool {
        matches!(self, End::NotNow | End::UnknownForNow)
    }
}

fn script(dice: &mut Dice, attempts: usize) -> Vec<Attempt> {
    let attempt = |_| {
        let longest = *dice.one_of(&[0, 1, 60, 1_500]);
        Attempt {
            takes: Duration::from_millis(2 * dice.below(longest + 1)),
            ends: match dice.weighted(&[2, 12, 1, 1, 2]) {
                0 => End::Stored,
                1 => End::NotNow,
                2 => End::Never,
                3 => End::Unknown,
                _ => End::UnknownForNow,
            },
        }
    };
    (0..attempts).map(attempt).collect()
}

struct Scripted {
    script: Vec<Attempt>,
    /// When each attempt began, and its message id.
    seen: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Publisher for Scripted {
    async fn publish(
        &self,
        envelope: &Envelope,
        _: Instant,
    ) -> Result<Acknowledgement, PublishError> {
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((Instant::now(), envelope.message_id().unwrap().to_string()));
            seen.len() - 1
        };
        let attempt = self.script[number];
        sleep(attempt.takes).await;
        match attempt.ends {
            End::Stored => Ok(Acknowledgement::new("S", 1)),
            End::NotNow => Err(PublishError::NoLeader),
            End::Never => Err(PublishError::PermissionDenied),
            End::Unknown => Err(PublishError::ConnectionLost),
            End::UnknownForNow => Err(PublishError::Other {
                text: "it may pass".to_owned(),
                scope: crate::Scope::Broker,
                known: Known::OutcomeUnknown,
            }),
        }
    }
}

/// The expected result of an emit, computed from the script alone.
struct Expected {
    began: Vec<Duration>,
    took: Duration,
    ok: bool,
    unknown: bool,
}

fn expected(script: &[Attempt], max_attempts: usize, deadline: Duration) -> Expected {
    let mut now = Duration::ZERO;
    let mut began = Vec::new();
    let mut unknown = false;
    for (number, attempt) in script.iter().enumerate() {
        began.push(now);
        let ends = now + attempt.takes;
        let cut_off = ends > deadline;
        now = ends.min(deadline);
        unknown |= cut_off || matches!(attempt.ends, End::Unknown | End::UnknownForNow);
        let ok = !cut_off && attempt.ends == End::Stored;
        let again = !cut_off
            && attempt.ends.is_tried_again()
            && number + 1 < max_attempts
            && now + wait(number) < deadline;
        if !again {
            let took = now;
            return Expected {
                began,
                took,
                ok,
                unknown,
            };
        }
        now += wait(number);
    }
    unreachable!("the script is as long as there are attempts");
}

fn emit(dice: &mut Dice, runtime: &Runtime) {
    let max_attempts = 1 + dice.index(7);
    let longest = *dice.one_of(&[50, 2_000, 60_000, 3_600_000]);
    // Odd, where all else is even: nothing falls on the deadline itself.
    let deadline = Duration::from_millis(dice.below(longest / 2) * 2 + 1);
    let script = script(dice, max_attempts);
    let expected = expected(&script, max_attempts, deadline);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let publisher = Scripted {
        script: script.clone(),
        seen: Arc::clone(&seen),
    };
    runtime.block_on(async {
        let settings = SinkSettings::default().deadline(deadline).unwrap();
        let settings = settings.max_attempts(max_attempts as u32).unwrap();
        let sink = Sink::new(publisher, settings);
        assert_eq!(sink.state(), State::Connected);
        let started = Instant::now();
        let envelope = Envelope::new(Subject::new("a").unwrap(), "{}".into());
        let result = sink.emit(envelope).await;
        let took = started.elapsed();
        assert_eq!(took, expected.took, "of {deadline:?}");
        assert!(took <= deadline);
        let seen = seen.lock().unwrap();
        let ids: Vec<&String> = seen.iter().map(|(_, id)| id).collect();
        assert!(
            ids.iter().all(|id| *id == ids[0]),
            "a retry has another id: {ids:?}"
        );
        assert_eq!(seen.len(), expected.began.len(), "attempts of {script:?}");
        for ((at, _), expected) in seen.iter().zip(&expected.began) {
            assert_eq!(*at - started, *expected, "an attempt's beginning");
        }
        match result {
            Ok(_) => assert!(expected.ok),
            Err(EmitError::Failed(failed)) => {
                assert!(!expected.ok);
                assert_eq!(failed.attempts as usize, expected.began.len());
                let unknown = failed.known == Known::OutcomeUnknown;
                assert_eq!(unknown, expected.unknown, "{failed}");
            }
            Err(other) => panic!("{other}"),
        }
    });
}

fn call(dice: &mut Dice, runtime: &Runtime) {
    let max_attempts = match dice.below(8) {
        0 => u32::MAX,
        most => most as u32 - 1,
    };
    let fails = dice.below(14) as u32;
    let calls_expected = max_attempts.max(1).min(fails + 1);
    let waits: Duration = (0..calls_expected - 1).map(|n| wait(n as usize)).sum();
    runtime.block_on(async {
        let mut calls = 0;
        let started = Instant::now();
        let result = with_retry(max_attempts, || {
            calls += 1;
            let result = if calls > fails { Ok(calls) } else { Err(calls) };
            async move { result }
        })
        .await;
        assert_eq!(started.elapsed(), waits);
        let last = calls_expected;
        assert_eq!(result, if last > fails { Ok(last) } else { Err(last) });
        assert_eq!(calls, calls_expected);
    });
}

#[test]
fn attempts_waits_and_deadline_match_the_script() {
    Trial::new("retry", 2_000).run(|dice| {
        let runtime = paused();
        emit(dice, &runtime);
        call(dice, &runtime);
        let failure = dice.next() as u32 >> dice.below(32);
        assert_eq!(wait_before_retry(failure), wait(failure as usize));
    });
}
