//! `docs/mutants.md`, from a run and from nothing else.

use super::ledger::Ledger;
use super::survivors::Survivor;
use crate::root;

const TEXT: &str = include_str!("mutants.md");

/// Where it goes.
const FILE: &str = "docs/mutants.md";

pub(crate) fn write(ledger: &Ledger, survivors: &[Survivor]) -> Result<(), String> {
    let mut counts = "| file | caught | never ended | do not compile | survived |\n".to_owned();
    counts.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    for (file, of_file) in ledger.counts() {
        counts.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            file.trim_start_matches("crates/jetsink/src/"),
            of_file.caught,
            of_file.timed_out,
            of_file.unviable,
            of_file.missed
        ));
    }
    let mut reasons = "| mutant | times | why no test fails |\n| --- | ---: | --- |\n".to_owned();
    for survivor in survivors {
        reasons.push_str(&format!(
            "| `{}` | {} | {} |\n",
            survivor
                .mutant
                .trim_start_matches("crates/jetsink/src/")
                .replace('|', "\\|"),
            survivor.times,
            survivor.reason
        ));
    }
    let text = TEXT
        .replace("{version}", super::VERSION)
        .replace("{summary}", &ledger.summary())
        .replace("{counts}", &counts)
        .replace("{reasons}", &reasons);
    std::fs::write(root().join(FILE), text).map_err(|e| format!("{FILE}: {e}"))?;
    println!("{FILE} is written");
    Ok(())
}
