//! Random histories of both scopes of circuits: one probe of the broker at a time, and an admission that
//! is dropped, wherever it stands, wedges neither the broker nor its subject.

use std::time::Duration;

use tokio::time::Instant;
use trial::{Dice, Trial};

use crate::Subject;
use crate::outcome::PublishError;
use crate::publish::admission::{ScopedAdmission, Scopes};

const DEADLINE: Duration = Duration::from_secs(2);

/// No probe lapses sooner.
const MAX_PROBE: Duration = Duration::from_secs(3);

/// No circuit waits for longer.
const MAX_WAIT: Duration = Duration::from_secs(180);

const ERRORS: [PublishError; 4] = [
    PublishError::ConnectionLost,
    PublishError::NoLeader,
    PublishError::PermissionDenied,
    PublishError::TooLarge { bytes: 2, limit: 1 },
];

/// An admission with its time and its subject.
type Admitted<'a> = (Instant, usize, ScopedAdmission<'a>);

struct World {
    now: Instant,
    subjects: [Subject; 3],
}

impl World {
    fn step<'a>(&mut self, dice: &mut Dice, scopes: &'a Scopes, out: &mut Vec<Admitted<'a>>) {
        let taken = |dice: &mut Dice, out: &mut Vec<Admitted<'a>>| {
            let which = dice.index(out.len().max(1));
            (!out.is_empty()).then(|| out.swap_remove(which))
        };
        match dice.weighted(&[8, 3, 4, 3, 4, 1, 1]) {
            0 => {
                let subject = dice.index(self.subjects.len());
                if let Ok(admission) = scopes.admit(self.now, &self.subjects[subject]) {
                    out.push((self.now, subject, admission));
                }
            }
            1 => {
                if let Some((_, subject, admission)) = taken(dice, out) {
                    admission.settle(self.now, &self.subjects[subject], None);
                }
            }
            2 => {
                if let Some((_, subject, admission)) = taken(dice, out) {
                    let error = dice.one_of(&ERRORS);
                    admission.settle(self.now, &self.subjects[subject], Some(error));
                }
            }
            3 => drop(taken(dice, out)),
            4 => {
                let longest = *dice.one_of(&[1, 150, 60_000, 200_000]);
                self.now += Duration::from_millis(dice.below(longest));
            }
            5 => scopes.disconnected(self.now),
            _ => scopes.sign_of_life(self.now),
        }
    }
}

fn history(dice: &mut Dice) {
    let mut world = World {
        now: Instant::now(),
        subjects: ["a", "b", "c"].map(|name| Subject::new(name).unwrap()),
    };
    let scopes = Scopes::new(world.now, DEADLINE);
    let mut out = Vec::new();
    for _ in 0..dice.below(201) {
        world.step(dice, &scopes, &mut out);
        let current = out.iter().filter(|(at, ..)| world.now - *at <= MAX_PROBE);
        let probes = current.filter(|(.., a)| a.probes_broker()).count();
        assert!(probes <= 1, "{probes} probes of the broker at once");
    }
    // Everybody goes away without a word.
    out.clear();
    for subject in &world.subjects {
        world.now += MAX_WAIT;
        let admission = scopes.admit(world.now, subject);
        let admission = admission.unwrap_or_else(|open| panic!("{subject} is wedged: {open}"));
        admission.settle(world.now, subject, None);
        assert!(scopes.admit(world.now, subject).is_ok());
    }
}

#[test]
fn no_dropped_admission_wedges_the_broker_or_a_subject() {
    Trial::new("scopes", 2_000).run(history);
}
