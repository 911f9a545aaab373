use super::*;

#[test]
fn patch_names_the_trial_that_must_catch_it() {
    let text = "bug: no epoch\ntrial: circuit-model\ncount: 1_000\n\ndiff --git a b\ncount: 2\n";
    assert_eq!(head(text), Some(("no epoch", "circuit-model", 1_000)));
    assert_eq!(head("bug: x\ndiff\n"), None);
}

#[test]
fn every_patch_applies_and_names_an_existing_trial() {
    let planted = planted().unwrap();
    assert!(!planted.is_empty());
    for bug in planted {
        let applies = succeed(git(&root(), &["apply", "--check"]).arg(&bug.file));
        assert!(applies.is_ok(), "{} is out of date", bug.file.display());
    }
}
