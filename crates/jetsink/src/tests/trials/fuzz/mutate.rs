//! Breaking an input.

use trial::Dice;

/// Longer inputs say nothing that these don't, but for a few.
const USUAL_LENGTH: usize = 4_096;

/// One input per this number is long: a repeated part of it.
const ONE_LONG_IN: u64 = 2_000;

const LONG: usize = 256 << 10;

/// Returns one of `corpus` with some bytes changed; `words` are tokens of the format.
pub(super) fn mutated(dice: &mut Dice, corpus: &[&[u8]], words: &[&[u8]]) -> Vec<u8> {
    let mut input = dice.one_of(corpus).to_vec();
    if dice.once_in(50) {
        // Unchanged, so that accepted inputs are checked, too.
        return input;
    }
    for _ in 0..=dice.below(5) {
        change(dice, &mut input, corpus, words);
    }
    if dice.once_in(ONE_LONG_IN) {
        lengthen(dice, &mut input, words);
    } else {
        input.truncate(USUAL_LENGTH);
    }
    input
}

/// As [`mutated`], of texts.
pub(super) fn mutated_text(dice: &mut Dice, corpus: &[&str], words: &[&str]) -> String {
    let corpus: Vec<&[u8]> = corpus.iter().map(|text| text.as_bytes()).collect();
    let words: Vec<&[u8]> = words.iter().map(|text| text.as_bytes()).collect();
    let bytes = mutated(dice, &corpus, &words);
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, corpus: &[&[u8]], words: &[&[u8]]) {
    let at = dice.index(input.len() + 1);
    let end = at + dice.index(input.len() - at + 1);
    let near = end.min(at + 8);
    match dice.below(10) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = *dice.one_of(&[0, b' ', b'"', b'\\', b'.', b'{', 0x7f, 0x80, 0xc3, 0xff]);
            }
        }
        2 | 3 => {
            input.splice(at..at, dice.one_of(words).iter().copied());
        }
        4 => {
            input.splice(at..near, dice.one_of(words).iter().copied());
        }
        5 => {
            input.drain(at..near);
        }
        6 => {
            input.drain(at..end);
        }
        7 => {
            let twice = input[at..end].to_vec();
            input.splice(at..at, twice);
        }
        8 => {
            let other = *dice.one_of(corpus);
            let from = dice.index(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let count = 1 + dice.index(8);
            input.splice(at..near, dice.bytes(count));
        }
    }
}

fn lengthen(dice: &mut Dice, input: &mut Vec<u8>, words: &[&[u8]]) {
    let at = dice.index(input.len() + 1);
    let word = *dice.one_of(words);
    let often = LONG / word.len().max(1);
    input.splice(at..at, word.repeat(often));
}
