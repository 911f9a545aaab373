//! A histogram of times with eight buckets per power of two: 12 % wide.

use std::time::Duration;

/// Times of 2^27 µs (134 s) and more are in the last bucket.
const MAX_MICROS: u64 = (1 << 27) - 1;

pub(crate) const BUCKETS: usize = bucket_of(MAX_MICROS) + 1;

/// The number of times per bucket.
pub(crate) type Times = [u64; BUCKETS];

pub(crate) fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    bucket_of(micros.min(MAX_MICROS))
}

const fn bucket_of(micros: u64) -> usize {
    if micros < 8 {
        return micros as usize;
    }
    let power = micros.ilog2();
    let eighth = (micros >> (power - 3)) & 7;
    (power as usize - 2) * 8 + eighth as usize
}

/// The upper end of a bucket.
fn upper_end(bucket: usize) -> Duration {
    if bucket < 8 {
        return Duration::from_micros(bucket as u64 + 1);
    }
    let (power, eighth) = (bucket / 8 + 2, bucket as u64 % 8);
    Duration::from_micros((9 + eighth) << (power - 3))
}

/// The time that this share of the times does not exceed; `None` without times. At most 12 % too long.
pub(crate) fn quantile(times: &Times, share: f64) -> Option<Duration> {
    let all: u64 = times.iter().sum();
    let rank = ((all as f64 * share).ceil() as u64).max(1);
    let mut below = 0;
    let found = times.iter().position(|count| {
        below += count;
        below >= rank
    });
    found.map(upper_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_contains_its_times_and_is_at_most_an_eighth_wide() {
        let mut before = Duration::ZERO;
        for number in 0..BUCKETS {
            let end = upper_end(number);
            assert!(end > before, "{number}");
            assert_eq!(bucket(before), number, "{before:?} begins {number}");
            assert_eq!(
                bucket(end - Duration::from_micros(1)),
                number,
                "{end:?} ends it"
            );
            let width = end - before;
            assert!(number < 16 || width * 8 <= before, "{number}: {width:?}");
            before = end;
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantile_is_the_end_of_the_bucket_of_its_rank() {
        let mut times = [0; BUCKETS];
        assert_eq!(quantile(&times, 0.5), None);
        for millis in 1..=100 {
            times[bucket(Duration::from_millis(millis))] += 1;
        }
        for (share, millis) in [(0.5, 50), (0.99, 99), (0.0, 1), (1.0, 100)] {
            let exact = Duration::from_millis(millis);
            let found = quantile(&times, share).unwrap();
            assert!(
                found > exact && found <= exact.mul_f64(1.126),
                "{share}: {found:?}"
            );
        }
    }
}
