//! An hour of the whole sink in virtual time: a broker that freezes, loses connections and answers, a disk
//! that fails and loses its power, a process that is killed. Safe always; drained once the faults stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use trial::{Dice, Trial};

use crate::outcome::Delivery;
use crate::spool::tests::simulated_disk::{Failing, Fault, SimulatedDisk};
use crate::spool::{DeadRecord, Spool};
use crate::tests::trials::emitters::{Emitter, Ledger, SUBJECTS, ScriptedSink};
use crate::tests::trials::scripted_broker::{Answers, PAUSE, ScriptedBroker};
use crate::{Envelope, Sink, SinkSettings, SpoolSettings, Subject, WindowSize};

const HOUR: Duration = Duration::from_secs(3_600);

/// The longest wait of the circuit, of a look-up and of an event's subject, one after another.
const DRAINED_WITHIN: Duration = Duration::from_secs(600);

struct World {
    broker: ScriptedBroker,
    disk: SimulatedDisk,
    disk_failed: Arc<AtomicBool>,
    ledger: Ledger,
}

impl World {
    /// Opens a sink on a working disk. Another trial covers faults while a spool is opened.
    fn open(&self) -> Arc<ScriptedSink> {
        self.disk.fail(None);
        let spool = Spool::at_once(self.disk.open(), 1 << 30).unwrap();
        let settings = SpoolSettings::new("in memory").window(WindowSize::new(6).unwrap());
        let sink = Sink::over(
            self.broker.clone(),
            SinkSettings::default(),
            spool,
            settings,
        );
        Arc::new(sink)
    }

    /// One process, from its start to its end.
    async fn life(&self, dice: &mut Dice, end: Instant) {
        let sink = self.open();
        self.disk_failed.store(false, Ordering::Relaxed);
        let mut callers = JoinSet::new();
        for subject in 0..SUBJECTS.len() {
            let emitter = Emitter {
                sink: Arc::clone(&sink),
                ledger: self.ledger.clone(),
                subject,
                dice: Dice::new(dice.next()),
                disk_failed: Arc::clone(&self.disk_failed),
            };
            callers.spawn(emitter.run(end));
        }
        match dice.below(3) {
            // In good order.
            0 => {
                while let Some(ended) = callers.join_next().await {
                    ended.unwrap();
                }
                self.disk.fail(None);
                sink.close(Duration::from_millis(dice.below(5_000))).await;
            }
            how => {
                let mut dies = std::pin::pin!(sleep_until(end));
                loop {
                    tokio::select! {
                        () = &mut dies => break,
                        Some(ended) = callers.join_next() => ended.unwrap(),
                    }
                }
                self.disk.fail(None);
                self.disk.process_is_killed();
                while let Some(ended) = callers.try_join_next() {
                    ended.unwrap();
                }
                callers.shutdown().await;
                drop(sink);
                self.broker.disconnect(|most| dice.index(most));
                if how == 1 {
                    self.disk.power_returns(dice);
                }
            }
        }
    }

    /// Injects faults of the broker and the disk.
    async fn faults(&self, mut dice: Dice) {
        loop {
            let quiet = *dice.one_of(&[1, 500, 30_000, 200_000]);
            sleep(Duration::from_millis(dice.below(quiet + 1))).await;
            let longest = *dice.one_of(&[50, 3_000, 60_000, 400_000]);
            let lasts = Duration::from_millis(dice.below(longest));
            let subject = *dice.one_of(&SUBJECTS);
            match dice.below(9) {
                0 | 1 => {
                    self.broker.disconnect(|most| dice.index(most));
                    sleep(lasts).await;
                    self.broker.connect();
                }
                2 | 3 => {
                    self.broker.answer(Answers::Frozen);
                    sleep(lasts / 2).await;
                    if dice.coin() {
                        self.broker.disconnect(|most| dice.index(most));
                    }
                    sleep(lasts / 2).await;
                    self.well(&mut dice);
                }
                4 => {
                    let answers = *dice.one_of(&[Answers::Lost, Answers::Nothing]);
                    self.broker.answer(answers);
                    sleep(lasts).await;
                    self.well(&mut dice);
                }
                5 => self.broker.answer_again(),
                6 => {
                    self.broker.refuse(subject, true);
                    sleep(lasts).await;
                    self.broker.refuse(subject, dice.once_in(4));
                }
                7 => {
                    self.broker.lead(subject, false);
                    sleep(lasts).await;
                    self.broker.lead(subject, !dice.once_in(4));
                }
                _ if dice.once_in(4) => {
                    self.disk_failed.store(true, Ordering::Relaxed);
                    self.disk.fail(Some(Failing {
                        from: self.disk.calls() + dice.below(20),
                        fault: *dice.one_of(&[Fault::Device, Fault::Full, Fault::Short]),
                        for_good: dice.coin(),
                    }));
                    sleep(lasts.min(Duration::from_secs(30))).await;
                    self.disk.fail(None);
                }
                _ => {}
            }
        }
    }

    fn well(&self, dice: &mut Dice) {
        let after = *dice.one_of(&[0, 2, 40, 1_900, 3_500]);
        self.broker
            .answer(Answers::Soon(Duration::from_millis(after)));
        self.broker.connect();
    }

    /// All is well again: everything is delivered soon, and then events go straight.
    async fn end(self) {
        self.broker.heal();
        let sink = self.open();
        let healed = Instant::now();
        while sink.spool().unwrap().status().events > 0 {
            let waited = healed.elapsed();
            assert!(
                waited < DRAINED_WITHIN,
                "not drained: {:?}",
                sink.spool().map(|spool| spool.status())
            );
            sleep(Duration::from_millis(100)).await;
        }
        // Only now each stream has changed its mind.
        sleep(PAUSE).await;
        for name in SUBJECTS {
            let last = Envelope::new(Subject::new(name).unwrap(), "999999999".into());
            let result = sink.emit(last).await;
            assert!(matches!(result, Ok(Delivery::Stored(_))), "{result:?}");
        }
        let receipt = sink.close(Duration::from_secs(1)).await;
        assert_eq!((receipt.spooled, receipt.unknown), (0, 0));
        let letters = Spool::at_once(self.disk.open(), 1 << 30).unwrap().letters();
        let payload = |letter: DeadRecord| {
            String::from_utf8(letter.record.envelope.payload().to_vec()).unwrap()
        };
        let dead: Vec<String> = letters.into_iter().map(payload).collect();
        let mut stored = self.broker.stored();
        stored.retain(|message| message.payload != "999999999");
        self.ledger.audit(&stored, &dead);
    }
}

async fn hour(dice: &mut Dice) {
    let world = Arc::new(World {
        broker: ScriptedBroker::new(),
        disk: SimulatedDisk::default(),
        disk_failed: Arc::default(),
        ledger: Ledger::default(),
    });
    let over = Instant::now() + HOUR;
    let faults = {
        let (world, dice) = (Arc::clone(&world), Dice::new(dice.next()));
        tokio::spawn(async move { world.faults(dice).await })
    };
    while Instant::now() < over {
        let longest = *dice.one_of(&[5, 120, 1_200, 3_600]);
        let life = Duration::from_secs(1 + dice.below(longest));
        world.life(dice, (Instant::now() + life).min(over)).await;
    }
    faults.abort();
    let _ = faults.await;
    world.disk.fail(None);
    let world = Arc::try_unwrap(world).unwrap_or_else(|_| panic!("someone has it"));
    assert!(world.ledger.len() > 10 && world.ledger.acknowledged() > 0);
    world.end().await;
}

#[test]
fn an_hour_of_faults_loses_no_acknowledged_event_and_ends_drained() {
    Trial::new("whole-sink", 2).run(|dice| {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(hour(dice));
    });
}
