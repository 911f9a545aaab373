//! A look-up that fails for long ends in the choice of the setting.

use std::time::Duration;

use tokio::time::{Instant, advance, pause};

use crate::observe::metrics::SpoolMeters;
use crate::outcome::{PublishError, Refusal};
use crate::publish::Direct;
use crate::publish::settings::SinkSettings;
use crate::publisher::look_up::{Gap, GapReason, StoredIds};
use crate::replay::reconcile::Reconciler;
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
    StoredIds::VisitedExcept(vec![Gap::new(subjects, GapReason::Unanswered(error))])
}

/// Spools an event of subject `a` that was sent.
async fn append(spool: &Spool, id: &str) {
    let event = Envelope::new(Subject::new("a").unwrap(), "0".into())
        .with_message_id(MessageId::new(id).unwrap());
    let soon = Instant::now() + Duration::from_secs(60);
    let above = Baselines::new();
    let appended = spool.append_event(&event, Some(&above), soon);
    appended.await.unwrap();
}

/// A spool with one event that was sent.
async fn spool_of_one(folder: &std::path::Path) -> Spool {
    let spool = Spool::open(folder, None).unwrap();
    append(&spool, "sink.0").await;
    // From now on, time stands still unless it is advanced.
    pause();
    spool
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
            let folder = tempfile::tempdir().unwrap();
            let spool = spool_of_one(folder.path()).await;
            let broker = Simulated::new();
            broker.with(|broker| broker.look_up = Some(Ok(unanswered(error.clone()))));
            let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
            let meters = SpoolMeters::new();
            let reconciler = Reconciler::new(&direct, &spool, &meters, choice);
            let started = Instant::now();
            let subject = Subject::new("a").unwrap();
            let is_open = || spool.unreconciled().subjects().any(|s| *s == subject);
            loop {
                let due = reconciler.next(|_| true).expect("it is due");
                reconciler.reconcile(due).await.unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    let spool = spool_of_one(folder.path()).await;
    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    let meters = SpoolMeters::new();
    let reconciler = Reconciler::new(&direct, &spool, &meters, WhenUnconfirmed::Deliver);
    let silent = || Some(Ok(unanswered(SILENCE)));
    for answer in [silent(), Some(Err(PublishError::ConnectionLost)), silent()] {
        broker.with(|broker| broker.look_up = answer);
        advance(TEN_MINUTES).await;
        let due = reconciler.next(|_| true).expect("it is due");
        let _ = reconciler.reconcile(due).await;
        assert_eq!(spool.status().possible_duplicates, 0);
    }
    advance(TEN_MINUTES).await;
    let due = reconciler.next(|_| true).expect("it is due");
    reconciler.reconcile(due).await.unwrap();
    assert_eq!(spool.status().possible_duplicates, 1);
}

/// Otherwise an outage of JetStream, or of a stream's replicas, would end in possible duplicates: nothing can be
/// delivered meanwhile.
#[tokio::test]
async fn time_in_which_nothing_stores_the_subject_does_not_count_as_silence() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool_of_one(folder.path()).await;
    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    let meters = SpoolMeters::new();
    let reconciler = Reconciler::new(&direct, &spool, &meters, WhenUnconfirmed::Deliver);
    let silent = || unanswered(SILENCE);
    let unreachable = || {
        let subjects = vec![Subject::new("a").unwrap()];
        let reason = GapReason::Unreachable(PublishError::NoLeader);
        StoredIds::VisitedExcept(vec![Gap::new(subjects, reason)])
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
        broker.with(|broker| broker.look_up = Some(Ok(answer)));
        advance(since_the_last_one).await;
        let due = reconciler.next(|_| true).expect("it is due");
        reconciler.reconcile(due).await.unwrap();
        assert_eq!(spool.status().possible_duplicates, duplicates);
    }
}

/// Spools an event of each of these subjects that was sent.
async fn append_to(spool: &Spool, subjects: &[&str]) {
    let soon = Instant::now() + Duration::from_secs(60);
    for subject in subjects {
        let event = Envelope::new(Subject::new(*subject).unwrap(), "0".into())
            .with_message_id(MessageId::new(format!("sink.{subject}")).unwrap());
        let above = Baselines::new();
        spool
            .append_event(&event, Some(&above), soon)
            .await
            .unwrap();
    }
}

/// Beside a subject that is held and looked up again and again, a slow stream would never be read to its end.
#[tokio::test]
async fn subject_that_a_look_up_left_is_looked_up_without_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), None).unwrap();
    append_to(&spool, &["fast", "slow"]).await;
    pause();
    let broker = Simulated::new();
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    let meters = SpoolMeters::new();
    let reconciler = Reconciler::new(&direct, &spool, &meters, WhenUnconfirmed::Hold);
    let gap = |subject: &str, reason| Gap::new(vec![Subject::new(subject).unwrap()], reason);
    let mut looked_up = Vec::new();
    for _ in 0..5 {
        let gaps = vec![
            gap("fast", GapReason::Removed),
            gap("slow", GapReason::Unfinished),
        ];
        broker.with(|broker| broker.look_up = Some(Ok(StoredIds::VisitedExcept(gaps))));
        let due = reconciler.next(|_| true).expect("it is due");
        let subjects = reconciler.reconcile(due).await.unwrap();
        let mut names: Vec<String> = subjects.iter().map(Subject::to_string).collect();
        names.sort();
        looked_up.push(names.join(" "));
        advance(Duration::from_secs(300)).await;
    }
    assert_eq!(looked_up, ["fast slow", "slow", "fast", "slow", "fast"]);
}

#[tokio::test]
async fn event_that_two_look_ups_leave_open_counts_as_one_possible_duplicate() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), None).unwrap();
    let broker = Simulated::new();
    let gap = Gap::new(vec![Subject::new("a").unwrap()], GapReason::Removed);
    broker.with(|broker| broker.look_up = Some(Ok(StoredIds::VisitedExcept(vec![gap]))));
    let direct = Direct::new(broker.clone(), SinkSettings::default(), true);
    let meters = SpoolMeters::new();
    let reconciler = Reconciler::new(&direct, &spool, &meters, WhenUnconfirmed::Deliver);
    for events in 1..=3 {
        append(&spool, &format!("sink.{events}")).await;
        let due = reconciler.next(|_| true).expect("it is due");
        reconciler.reconcile(due).await.unwrap();
        assert_eq!(spool.status().possible_duplicates, events);
    }
}
