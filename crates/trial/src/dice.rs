//! Random choices, the same for the same seed.

/// A source of random choices.
///
/// The same seed makes the same choices on every machine, as long as the lock file keeps the version of
/// `fastrand`.
#[derive(Debug, Clone)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Starts a sequence of choices.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // endless, and no iterator's methods are wanted
    pub fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        match limit {
            0 => 0,
            limit => self.0.u64(..limit),
        }
    }

    /// An index into a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        // Not of `usize`: it has other numbers on other machines.
        self.below(length as u64) as usize
    }

    /// True once in `times`, on average.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// True or false, equally often.
    pub fn coin(&mut self) -> bool {
        self.0.bool()
    }

    /// One of the choices.
    ///
    /// # Panics
    /// If there are no choices.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// The number of a choice, by the weight of each.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (choice, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return choice,
            }
        }
        weights.len()
    }

    /// Random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_choices_and_neighbours_make_others() {
        let rolls = |seed| -> Vec<u64> {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.next()).collect()
        };
        assert_eq!(rolls(7), rolls(7));
        assert!(rolls(7).iter().zip(rolls(8)).all(|(a, b)| *a != b));
    }

    /// Trials count their seeds up: the first choices must not depend on that.
    #[test]
    fn first_choices_of_neighbouring_seeds_are_evenly_spread() {
        let mut counts = [[0_u32; 10]; 3];
        for seed in 0..10_000 {
            let mut dice = Dice::new(seed);
            for counts in &mut counts {
                counts[dice.index(10)] += 1;
            }
        }
        let is_even = |count: &u32| (880..1_120).contains(count);
        assert!(counts.iter().flatten().all(is_even), "{counts:?}");
    }

    /// A change here means that the seed of a failed history no longer repeats it.
    #[test]
    fn choices_of_a_seed_do_not_change() {
        let mut dice = Dice::new(7);
        let numbers: Vec<u64> = (0..4).map(|_| dice.below(1_000)).collect();
        assert_eq!(numbers, [773, 222, 718, 481]);
        assert_eq!(dice.bytes(3), [44, 189, 203]);
    }

    #[test]
    fn each_choice_comes_as_often_as_its_weight() {
        let mut dice = Dice::new(1);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[dice.weighted(&[1, 0, 3])] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2_200..2_800).contains(&counts[0]), "{counts:?}");
        assert!((0..10_000).all(|limit| limit == 0 || dice.below(limit) < limit));
        assert_eq!(dice.bytes(13).len(), 13);
    }
}
