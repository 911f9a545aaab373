//! `docs/mutants.md`, from a run and from nothing else.

use super::ledger::Ledger;
use super::survivors::Survivor;
use crate::page::{self, Tree};

const TEXT: &str = include_str!("mutants.md");

/// Where it goes.
pub(super) const FILE: &str = "docs/mutants.md";

/// Left out of every name.
const FOLDER: &str = "crates/jetsink/src/";

pub(crate) fn write(ledger: &Ledger, listed: &[Survivor], tree: &Tree) -> Result<(), String> {
    let earlier = match ledger.of_earlier_runs() {
        0 => String::new(),
        some => format!(
            " {some} of them were tried by earlier runs, which this one went on with (`--iterate`), and not again."
        ),
    };
    let values = [
        ("version", super::VERSION.to_owned()),
        ("summary", ledger.summary()),
        ("earlier", earlier),
        ("counts", counts(ledger)),
        ("survivors", survivors(ledger, listed)),
    ];
    page::write(FILE, TEXT, &values, tree)
}

fn counts(ledger: &Ledger) -> String {
    let mut text = "| file | caught | never ended | do not compile | survived |\n\
                    | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (file, of_file) in ledger.counts() {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            file.trim_start_matches(FOLDER),
            of_file.caught,
            of_file.timed_out,
            of_file.unviable,
            of_file.missed
        ));
    }
    text
}

fn survivors(ledger: &Ledger, listed: &[Survivor]) -> String {
    let mut text = "| mutant | times | why no test fails |\n| --- | ---: | --- |\n".to_owned();
    for (mutant, times) in ledger.survivors() {
        let reason = listed.iter().find(|survivor| survivor.mutant == mutant);
        let reason = reason.map_or("**no reason is known**", |survivor| &survivor.reason);
        // A bar in code ends a cell, too.
        let mutant = mutant.trim_start_matches(FOLDER).replace('|', "\\|");
        text.push_str(&format!("| `{mutant}` | {times} | {reason} |\n"));
    }
    text
}
