//! Mutants that no test has to notice, each with the reason: `tests/mutants.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Survivor {
    /// Its name as cargo-mutants has it, without line and column.
    pub(crate) mutant: String,
    /// How many are alike.
    #[serde(default = "one")]
    pub(crate) times: usize,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

fn one() -> usize {
    1
}

pub(crate) fn read(file: &Path) -> Result<Vec<Survivor>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let read: File = toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(read.survivor)
}

/// An error where those that survived are not those that are listed.
pub(crate) fn compare(
    survived: &BTreeMap<String, usize>,
    listed: &[Survivor],
) -> Result<(), String> {
    let mut expected = BTreeMap::new();
    for survivor in listed {
        *expected.entry(survivor.mutant.as_str()).or_default() += survivor.times;
    }
    let mut wrong = Vec::new();
    for (mutant, &times) in survived {
        let listed: usize = expected.remove(mutant.as_str()).unwrap_or(0);
        if times != listed {
            wrong.push(format!("{mutant}: {times} survived, {listed} listed"));
        }
    }
    let caught = expected.into_keys();
    wrong.extend(caught.map(|mutant| format!("{mutant}: listed, and none survived")));
    if wrong.is_empty() {
        Ok(())
    } else {
        let wrong = wrong.join("\n  ");
        Err(format!(
            "tests/mutants.toml is not what was seen:\n  {wrong}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn each_survivor_is_listed_and_each_listed_one_survives() {
        let listed = |mutant: &str, times| Survivor {
            mutant: mutant.to_owned(),
            times,
            reason: "equal".to_owned(),
        };
        let survived = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
        let compare = |listed: &[Survivor]| compare(&survived, listed);
        assert_eq!(compare(&[listed("a", 2), listed("b", 1)]), Ok(()));
        assert_eq!(
            compare(&[listed("a", 1), listed("b", 1), listed("a", 1)]),
            Ok(())
        );
        assert!(
            compare(&[listed("a", 2)])
                .unwrap_err()
                .contains("b: 1 survived, 0 listed")
        );
        assert!(compare(&[listed("a", 1), listed("b", 1)]).is_err());
        let more = [listed("a", 2), listed("b", 1), listed("c", 1)];
        assert!(compare(&more).unwrap_err().contains("c: listed"));
    }

    #[test]
    fn the_list_of_this_tree_can_be_read_and_gives_each_a_reason() {
        let survivors = read(&root().join("tests/mutants.toml")).unwrap();
        assert!(survivors.iter().all(|survivor| survivor.reason.len() > 10));
    }
}
