use std::time::Duration;

use jetsink::{Acknowledgement, Envelope, PublishError, Publisher, Sink, SinkSettings, Subject};
use tokio::time::{Instant, sleep};

use super::*;
use crate::identity::Identities;
use crate::meters::Meters;

/// Refuses each event after a time, without sending it.
struct SlowRefusal(Duration);

impl Publisher for SlowRefusal {
    async fn publish(&self, _: &Envelope, _: Instant) -> Result<Acknowledgement, PublishError> {
        sleep(self.0).await;
        Err(PublishError::TooLarge { bytes: 2, limit: 1 })
    }
}

fn event() -> Ready {
    Ready {
        envelope: Envelope::new(Subject::new("e").unwrap(), "x".into()),
        key: [1; 24],
        digest: 1,
    }
}

// A reviewer's finding: a repeat had no timer, and began an emit of its own shortly before its deadline.
#[tokio::test(start_paused = true)]
async fn repeat_that_becomes_the_first_is_answered_by_its_deadline() {
    let settings = SinkSettings::default().deadline(Duration::from_secs(2));
    let sink = Arc::new(Sink::new(
        SlowRefusal(Duration::from_millis(1_500)),
        settings.unwrap(),
    ));
    let identities = Identities::new(1_000, Duration::from_secs(600));
    let meters = Arc::new(Meters::new());
    let memory = Memory::new(identities, None, Arc::clone(&meters));
    let once = Arc::new(Once::new(sink, memory, meters));
    let answer = async |after: u64| {
        sleep(Duration::from_millis(after)).await;
        let started = Instant::now();
        let outcome = one(&once, event(), Duration::from_millis(2_200), ()).await;
        let Outcome::Failed(problem) = outcome else {
            panic!("nothing is stored");
        };
        (problem.kind(), started.elapsed().as_millis())
    };
    let (first, repeat) = tokio::join!(answer(0), answer(500));
    assert_eq!(first, (ProblemKind::EventRefused, 1_500));
    assert_eq!(repeat.0, ProblemKind::OutcomeUnknown);
    assert!((2_200..2_300).contains(&repeat.1), "{repeat:?}");
}
