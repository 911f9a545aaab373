//! Reads the messages of a stream by one request each, as fast as the link allows.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::get::{Got, NO_DIRECT_GET, Place};
use crate::nats::api::{ANSWER_TIME, cant_read};
use crate::nats::failure::Failure;
use crate::outcome::PublishError;

/// The maximum number of concurrent requests. An answer has a message with its payload, which may be large.
const MAX_REQUESTS: usize = 16;

/// The maximum time limit of one request.
const MAX_TIME: Duration = Duration::from_secs(16);

/// Reads messages by requests: from the stream's leader, or by direct get (`allow_direct`) if the user may ask
/// for that only.
#[derive(Debug, Default)]
pub(crate) struct Getter {
    is_direct: bool,
    pace: Pace,
    /// Answers behind one that is missing, by the sequence number that was asked for.
    ahead: BTreeMap<u64, Option<Got>>,
}

impl Getter {
    /// Returns the first messages with the sequence number `from` or a higher one, in their order. Empty at the
    /// stream's end; `last` is its last sequence number, as far as it is known. If that is not reached, messages at
    /// the end were removed, or the server that answers direct gets is far behind its leader.
    ///
    /// If answers do not arrive in time, fewer messages are asked for at once, then with more time for each.
    pub(crate) async fn messages_from(
        &mut self,
        place: Place<'_>,
        from: u64,
        last: u64,
    ) -> Result<Vec<Got>, PublishError> {
        if !self.is_direct {
            let time = |time| move |sequence| place.message(sequence, time);
            match self.messages(from, time).await {
                Err(denied) if Failure::of(&denied).allows_another_way() => {
                    if place.allows_direct == Some(false) {
                        return Err(denied);
                    }
                    if place.leaves_direct_gets_open()
                        && let Err(error) = place.direct(from, last, ANSWER_TIME).await
                        && Failure::of(&error) == Failure::Silence
                    {
                        return Err(denied);
                    }
                    let direct = self.all_direct(place, from, last).await;
                    // No stream answers direct gets: the first refusal tells more.
                    let direct =
                        direct.map_err(|error| match Failure::of(&error).allows_another_way() {
                            true => denied,
                            false => error,
                        })?;
                    self.is_direct = true;
                    return Ok(direct);
                }
                answers => return Ok(in_order(answers?)),
            }
        }
        self.all_direct(place, from, last).await
    }

    /// Whether it reads from any replica.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// As [`messages_from`](Self::messages_from), from any replica.
    async fn all_direct(
        &mut self,
        place: Place<'_>,
        from: u64,
        last: u64,
    ) -> Result<Vec<Got>, PublishError> {
        let time = |time| move |sequence| place.direct(sequence, last, time);
        let answers = self.messages(from, time).await;
        let answers = answers.map_err(|error| match Failure::of(&error) {
            Failure::Silence => cant_read(NO_DIRECT_GET),
            _ => error,
        })?;
        if lags(from, &answers, last) {
            return Err(cant_read("the server that reads it is behind its leader"));
        }
        Ok(in_order(answers))
    }

    /// Returns the answers to the requests from the sequence number `from` on: at least one.
    async fn messages<F, R>(
        &mut self,
        from: u64,
        within: impl Fn(Duration) -> F,
    ) -> Result<Vec<Option<Got>>, PublishError>
    where
        F: Fn(u64) -> R,
        R: Future<Output = Result<Option<Got>, PublishError>>,
    {
        self.ahead = self.ahead.split_off(&from);
        loop {
            let message = within(self.pace.time);
            let to_ask = (from..).filter(|sequence| !self.ahead.contains_key(sequence));
            let asked: Vec<u64> = to_ask.take(self.pace.requests).collect();
            let answers = join_all(asked.iter().copied().map(message)).await;
            let mut failure = None;
            let mut answered = 0;
            for (sequence, answer) in asked.iter().zip(answers) {
                match answer {
                    Ok(got) => {
                        self.ahead.insert(*sequence, got);
                        answered += 1;
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            let in_a_row = (from..).map_while(|sequence| self.ahead.remove(&sequence));
            let in_a_row: Vec<Option<Got>> = in_a_row.collect();
            let may_go_on = match &failure {
                None => {
                    self.pace.faster();
                    true
                }
                Some(error) => is_late(error) && self.pace.slower(answered),
            };
            match failure {
                Some(error) if in_a_row.is_empty() && !may_go_on => return Err(error),
                Some(_) if in_a_row.is_empty() => {}
                _ => return Ok(in_a_row),
            }
        }
    }
}

/// How a getter asks. Answers that fill a slow link delay each other, until none arrives in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// The number of concurrent requests.
    requests: usize,
    /// The time limit of each.
    time: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            requests: MAX_REQUESTS,
            time: ANSWER_TIME,
        }
    }
}

impl Pace {
    /// Every request was answered in time.
    fn faster(&mut self) {
        self.requests = (2 * self.requests).min(MAX_REQUESTS);
    }

    /// Only `answered` requests were answered in time. Returns whether to ask again.
    fn slower(&mut self, answered: usize) -> bool {
        if self.requests > 1 {
            // Without any answer, the number says nothing.
            self.requests = answered.min(self.requests / 2).max(1);
            return true;
        }
        let may_wait = self.time < MAX_TIME;
        self.time = (2 * self.time).min(MAX_TIME);
        may_wait
    }
}

/// Whether an answer did not arrive in time.
fn is_late(error: &PublishError) -> bool {
    matches!(error, PublishError::AckTimeout { .. })
}

fn in_order(answers: Vec<Option<Got>>) -> Vec<Got> {
    let found = answers.into_iter().flatten();
    let found: BTreeMap<u64, Got> = found.map(|got| (got.sequence, got)).collect();
    found.into_values().collect()
}

/// Whether one replica lacks messages that another one has. `answers` are those from the sequence number `from` on.
fn lags(from: u64, answers: &[Option<Got>], last: u64) -> bool {
    let newest = answers.iter().flatten().map(|got| got.sequence).max();
    let mut asked = (from..=last).zip(answers);
    newest.is_some_and(|newest| asked.any(|(sequence, got)| got.is_none() && sequence <= newest))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use bytes::Bytes;
    use tokio::time::{Instant, sleep, sleep_until};

    use super::*;

    fn got(sequence: u64) -> Got {
        Got {
            sequence,
            subject: "events.a".to_owned(),
            headers: None,
            payload: Bytes::new(),
            time: String::new(),
        }
    }

    /// A stream of ten messages behind a link that passes this many answers per second.
    struct Link {
        per_second: u32,
        busy_until: Cell<Instant>,
        asked: RefCell<Vec<u64>>,
    }

    impl Link {
        fn new(per_second: u32) -> Self {
            Self {
                per_second,
                busy_until: Cell::new(Instant::now()),
                asked: RefCell::default(),
            }
        }

        async fn message(
            &self,
            sequence: u64,
            time: Duration,
        ) -> Result<Option<Got>, PublishError> {
            let now = Instant::now();
            let arrives = self.busy_until.get().max(now) + Duration::from_secs(1) / self.per_second;
            self.busy_until.set(arrives);
            if arrives > now + time {
                sleep(time).await;
                return Err(PublishError::AckTimeout {
                    broker_answers: false,
                });
            }
            sleep_until(arrives).await;
            self.asked.borrow_mut().push(sequence);
            Ok((sequence <= 100).then(|| got(sequence)))
        }

        async fn read_all(&self) -> Result<(Vec<u64>, Getter), PublishError> {
            let mut getter = Getter::default();
            let mut sequences = Vec::new();
            while let from = sequences.last().map_or(1, |last| last + 1)
                && from <= 100
            {
                let within = |time| move |sequence| self.message(sequence, time);
                let messages = in_order(getter.messages(from, within).await?);
                sequences.extend(messages.iter().map(|got| got.sequence));
            }
            Ok((sequences, getter))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_link_is_asked_for_fewer_messages_and_each_is_read_once() {
        for per_second in [1_000, 7, 3, 1] {
            let link = Link::new(per_second);
            let (sequences, _) = link.read_all().await.unwrap();
            assert_eq!(sequences, (1..=100).collect::<Vec<_>>(), "{per_second}");
            let mut asked = link.asked.take();
            asked.retain(|sequence| *sequence <= 100);
            asked.sort_unstable();
            assert_eq!(asked, sequences, "{per_second}: read twice");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn large_message_gets_a_longer_request_timeout() {
        let mut getter = Getter::default();
        let within = |time| {
            move |sequence| async move {
                let takes = Duration::from_secs(5);
                sleep(takes.min(time)).await;
                match takes <= time {
                    true => Ok(Some(got(sequence))),
                    false => Err(PublishError::AckTimeout {
                        broker_answers: true,
                    }),
                }
            }
        };
        let messages = getter.messages(1, within).await.unwrap();
        assert_eq!(in_order(messages)[0].sequence, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_within_a_minute_and_another_failure_at_once() {
        for (error, most) in [
            (
                PublishError::AckTimeout {
                    broker_answers: true,
                },
                60,
            ),
            (PublishError::ConnectionLost, 3),
        ] {
            let mut getter = Getter::default();
            let started = Instant::now();
            let within = |time| {
                let error = error.clone();
                move |_| {
                    let error = error.clone();
                    async move {
                        sleep(time).await;
                        Err(error)
                    }
                }
            };
            let answer = getter.messages(1, within).await;
            assert_eq!(answer.unwrap_err(), error);
            assert!(started.elapsed() < Duration::from_secs(most));
        }
    }

    #[test]
    fn pace_grows_again_while_answers_arrive() {
        let mut pace = Pace::default();
        assert!(pace.slower(12));
        assert_eq!(pace.requests, 8);
        assert!(pace.slower(0));
        assert_eq!((pace.requests, pace.time), (1, ANSWER_TIME));
        assert!(pace.slower(0) && pace.slower(0) && pace.slower(0));
        assert_eq!(pace.time, MAX_TIME);
        assert!(!pace.slower(0));
        for requests in [2, 4, 8, 16, 16] {
            pace.faster();
            assert_eq!(pace.requests, requests);
        }
    }

    #[test]
    fn replica_lags_if_it_lacks_a_message_before_one_of_another_replica() {
        let got = |sequence| Some(got(sequence));
        let (tail_removed, lagging) = ([got(5), None, None], [got(5), None, got(7)]);
        assert!(!lags(5, &tail_removed, 9));
        assert!(lags(5, &lagging, 9));
        // A message that was stored after the last one was asked for.
        assert!(!lags(5, &lagging, 5));
        assert!(!lags(5, &[None, None], 9));
    }
}
