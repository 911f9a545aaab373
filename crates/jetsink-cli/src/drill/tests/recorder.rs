use super::*;

const TICK: Duration = Duration::from_millis(100);

fn tick(emitted: u64, latest: &[u64], unfinished: Option<u64>) -> Tick {
    Tick {
        emitted,
        ok: emitted,
        latest: latest.iter().map(|&ms| Duration::from_millis(ms)).collect(),
        unfinished: unfinished.map(Duration::from_millis),
        ..Tick::default()
    }
}

#[test]
fn longest_includes_an_emit_that_has_not_ended() {
    let mut recorder = Recorder::new(TICK, 1);
    recorder.record(TICK, vec![(tick(3, &[3, 1, 2], Some(90)), Some(3))]);
    recorder.record(TICK * 2, vec![(tick(3, &[], None), None)]);
    let samples = recorder.finish().remove(0);
    assert_eq!(samples[0].median_seconds, Some(0.002));
    assert_eq!(samples[0].longest_seconds, Some(0.09));
    assert_eq!(
        (samples[1].median_seconds, samples[1].longest_seconds),
        (None, None)
    );
}

#[test]
fn long_drill_keeps_its_peaks_in_fewer_samples() {
    let mut recorder = Recorder::new(TICK, 2);
    let count = 20_001;
    for number in 1..=count {
        let slow = if number == 7_777 { 1_234 } else { 1 };
        let at = TICK * u32::try_from(number).unwrap();
        recorder.record(at, vec![(tick(number, &[slow], None), Some(number)); 2]);
    }
    assert_eq!(recorder.tick_seconds(), 0.8);
    for samples in recorder.finish() {
        assert!(samples.len() < MAX_SAMPLES && samples.len() > MAX_SAMPLES / 2);
        assert!(
            samples
                .iter()
                .any(|sample| sample.longest_seconds == Some(1.234))
        );
        assert_eq!(samples.last().map(|sample| sample.emitted), Some(count));
        assert!(samples.is_sorted_by(|one, other| one.at < other.at));
    }
}
