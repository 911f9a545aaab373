//! A look-up that fails for long ends in the choice of the setting.

use std::time::Duration;

use tokio::time::{Instant, advance, pause};

use crate::observe::metrics::SpoolMeters;
use crate::outcome::{PublishError, Refusal};
use crate::publish::Direct;
use crate::publish::settings::SinkSettings;
use crate::publisher::look_up::{GapReason, LookUpGap, StoredIds};
use crate::replay::reconcile::{ReconcileError, Reconciler};
use crate::replay::settings::WhenUnconfirmed;
use crate::spool::{Baselines, Spool};
use crate::tests::simulated_broker::Simulated;
use crate::{Envelope, MessageId, Subject};

/// A code of a later server.
const UNKNOWN_CODE: u64 = 10_999;

const SILENCE: PublishError = PublishError::AckTimeout {
    broker_answers: true,
};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn unanswered(error: PublishError) -> StoredIds {
    let subjects = vec![Subject::new("a").unwrap()];
    StoredIds::VisitedExcept(vec![LookUpGap::new(subjects, GapReason::Unanswered(error))])
}

/// Spools an event that was sent.
async fn append(spool: &Spool, subject: &str, id: &str) {
    let event = Envelope::new(Subject::new(subject).unwrap(), "0".into())
        .with_message_id(MessageId::new(id).unwrap());
    let soon = Instant::now() + Duration::from_secs(60);
    let above = Baselines::new();
    let appended = spool.append_event(&event, Some(&above), soon);
    appended.await.unwrap();
}

/// The parts of a replay before a simulated broker.
struct Parts {
    _folder: tempfile::TempDir,
    spool: Spool,
    broker: Simulated,
    direct: Direct<Simulated>,
    meters: SpoolMeters,
}

impl Parts {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), None).unwrap();
        let broker = Simulated::new();
        Self {
            _folder: folder,
            spool,
            direct: Direct::new(broker.clone(), SinkSettings::default(), true),
            broker,
            meters: SpoolMeters::new(),
        }
    }

    /// With one event that was sent. From now on, time stands still unless it is advanced.
    async fn with_one_event() -> Self {
        let parts = Self::new();
        append(&parts.spool, "a", "sink.0").await;
        pause();
        parts
    }

    fn reconciler(&self, choice: WhenUnconfirmed) -> Reconciler<'_, Simulated> {
        Reconciler::new(&self.direct, &self.spool, &self.meters, choice)
    }

    /// Sets the result of the next look-ups.
    fn answer(&self, answer: Result<StoredIds, PublishError>) {
        self.broker.with(|broker| broker.look_up = Some(answer));
    }
}

/// Looks up the subjects that are due. Returns those that have a result.
async fn look_up(reconciler: &Reconciler<'_, Simulated>) -> Result<Vec<Subject>, ReconcileError> {
    let due = reconciler.next(|_| true).expect("it is due");
    reconciler.reconcile(due).await
}

#[tokio::test]
async fn unknown_code_and_silence_are_final_after_ten_minutes() {
    let unknown = PublishError::Refused(Refusal {
        code: UNKNOWN_CODE,
        text: "new".to_owned(),
    });
    let silence = SILENCE;
    let unreadable = PublishError::JetStreamUnavailable;
    for error in [unknown, silence, unreadable] {
        for choice in [WhenUnconfirmed::Deliver, WhenUnconfirmed::Hold] {
            let parts = Parts::with_one_event().await;
            let spool = &parts.spool;
            parts.answer(Ok(unanswered(error.clone())));
            let reconciler = parts.reconciler(choice);
            let started = Instant::now();
            let subject = Subject::new("a").unwrap();
            let is_open = || spool.unreconciled().subjects().any(|s| *s == subject);
            loop {
                look_up(&reconciler).await.unwrap();
                let is_over = started.elapsed() >= TEN_MINUTES;
                let status = spool.status();
                match choice {
                    WhenUnconfirmed::Deliver => {
                        assert_eq!(is_open(), !is_over, "{error}: {:?}", started.elapsed());
                        assert_eq!(status.possible_duplicates, u64::from(is_over));
                    }
                    WhenUnconfirmed::Hold => {
                        assert!(is_open());
                        assert_eq!(status.held_subjects, u64::from(is_over));
                    }
                }
                if is_over {
                    break;
                }
                let due = reconciler.next_due().expect("it is looked up again");
                advance(due.saturating_duration_since(Instant::now())).await;
            }
            // The back-off's longest wait.
            assert!(started.elapsed() <= TEN_MINUTES + Duration::from_secs(180));
            tokio::time::resume();
        }
    }
}

#[tokio::test]
async fn silence_that_a_failure_of_the_broker_interrupts_begins_anew() {
    let parts = Parts::with_one_event().await;
    let reconciler = parts.reconciler(WhenUnconfirmed::Deliver);
    let silent = || Ok(unanswered(SILENCE));
    for answer in [silent(), Err(PublishError::ConnectionLost), silent()] {
        parts.answer(answer);
        advance(TEN_MINUTES).await;
        let _ = look_up(&reconciler).await;
        assert_eq!(parts.spool.status().possible_duplicates, 0);
    }
    advance(TEN_MINUTES).await;
    look_up(&reconciler).await.unwrap();
    assert_eq!(parts.spool.status().possible_duplicates, 1);
}

/// Otherwise an outage of JetStream, or of a stream's replicas, would end in possible duplicates: nothing can be
/// delivered meanwhile.
#[tokio::test]
async fn time_in_which_nothing_stores_the_subject_does_not_count_as_silence() {
    let parts = Parts::with_one_event().await;
    let reconciler = parts.reconciler(WhenUnconfirmed::Deliver);
    let silent = || unanswered(SILENCE);
    let unreachable = || {
        let subjects = vec![Subject::new("a").unwrap()];
        let reason = GapReason::Unreachable(PublishError::NoLeader);
        StoredIds::VisitedExcept(vec![LookUpGap::new(subjects, reason)])
    };
    let half = TEN_MINUTES / 2;
    for (answer, since_the_last_one, duplicates) in [
        (silent(), half, 0),
        (unreachable(), 100 * TEN_MINUTES, 0),
        (unreachable(), 100 * TEN_MINUTES, 0),
        (silent(), TEN_MINUTES, 0),
        // Both halves count.
        (silent(), half, 0),
        (unreachable(), TEN_MINUTES, 0),
        (silent(), TEN_MINUTES, 0),
        (silent(), half, 1),
    ] {
        parts.answer(Ok(answer));
        advance(since_the_last_one).await;
        look_up(&reconciler).await.unwrap();
        assert_eq!(parts.spool.status().possible_duplicates, duplicates);
    }
}

/// Beside a subject that is held and looked up again and again, a slow stream would never be read to its end.
#[tokio::test]
async fn subject_that_a_look_up_left_is_looked_up_without_the_others() {
    let parts = Parts::new();
    for subject in ["fast", "slow"] {
        append(&parts.spool, subject, &format!("sink.{subject}")).await;
    }
    pause();
    let reconciler = parts.reconciler(WhenUnconfirmed::Hold);
    let gap = |subject: &str, reason| LookUpGap::new(vec![Subject::new(subject).unwrap()], reason);
    let mut looked_up = Vec::new();
    for _ in 0..5 {
        let gaps = vec![
            gap("fast", GapReason::Removed),
            gap("slow", GapReason::Unfinished),
        ];
        parts.answer(Ok(StoredIds::VisitedExcept(gaps)));
        let subjects = look_up(&reconciler).await.unwrap();
        let mut names: Vec<String> = subjects.iter().map(Subject::to_string).collect();
        names.sort();
        looked_up.push(names.join(" "));
        advance(Duration::from_secs(300)).await;
    }
    assert_eq!(looked_up, ["fast slow", "slow", "fast", "slow", "fast"]);
}

#[tokio::test]
async fn event_that_two_look_ups_leave_open_counts_as_one_possible_duplicate() {
    let parts = Parts::new();
    let gap = LookUpGap::new(vec![Subject::new("a").unwrap()], GapReason::Removed);
    parts.answer(Ok(StoredIds::VisitedExcept(vec![gap])));
    let reconciler = parts.reconciler(WhenUnconfirmed::Deliver);
    for events in 1..=3 {
        append(&parts.spool, "a", &format!("sink.{events}")).await;
        look_up(&reconciler).await.unwrap();
        assert_eq!(parts.spool.status().possible_duplicates, events);
    }
}
