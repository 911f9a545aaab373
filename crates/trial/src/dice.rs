//! Random numbers that are the same for the same seed, on every machine and in every version.

/// SplitMix64: small, and good enough to choose steps with.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that roll the same numbers again for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mixed(seed ^ 0x6a65_7473_696e_6b00))
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // endless, and no iterator's methods are wanted
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `limit`; 0 where that is 0. (Its bias is below `limit` in 2^64.)
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A place in something so long.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True once in `times`, on average.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Heads or tails.
    pub fn coin(&mut self) -> bool {
        self.once_in(2)
    }

    /// One of them.
    ///
    /// # Panics
    /// Where there is none.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// The number of a choice, by the weight of each.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (choice, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(behind) => left = behind,
                None => return choice,
            }
        }
        weights.len()
    }

    /// So many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_numbers_and_its_neighbour_others() {
        let rolls = |seed| -> Vec<u64> {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.next()).collect()
        };
        assert_eq!(rolls(7), rolls(7));
        assert!(rolls(7).iter().zip(rolls(8)).all(|(a, b)| *a != b));
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
