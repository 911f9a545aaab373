//! The chain, and the hash in the `.head` file.

use std::fs;
use std::path::Path;

use super::*;

#[tokio::test]
async fn each_row_is_stored_once_with_an_id_of_its_subject_and_hash() {
    let server = server().await;
    let path = format!("{RECORDED}/audit-trail.jsonl");
    assert_code(&publish(&server, &[&path]), 0);
    let output = publish(&server, &["--json", &path]);
    assert_code(&output, 0);
    let again = &json(&output)["duplicates"];
    assert_eq!(again, rows().len(), "the second run is detected by the ids");
    assert_stored(&there(&server).await, &rows());
}

#[tokio::test]
async fn rows_behind_an_altered_one_are_stored_only_with_continue() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut changed = rows();
    changed[6] = changed[6].replace("acme", "evil");
    let path = trail(&folder, &changed);
    // Skipping bad lines is no permission to go on behind a break.
    for on_bad_line in ["fail", "skip"] {
        let output = publish(&server, &["--on-bad-line", on_bad_line, as_text(&path)]);
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(
            text.contains("audit-trail.jsonl:7:1: the audit trail's chain is broken"),
            "{text}"
        );
        let found = hash_of(&changed[6]);
        assert!(text.contains(&format!("its row_hash is {found}")), "{text}");
        assert!(text.contains("--on-broken-chain continue"), "{text}");
        assert_eq!(resume_line(&output), "7");
        assert_stored(&there(&server).await, &rows()[..6]);
    }
    // Resuming behind the break is no way around it.
    let output = publish(&server, &["--from-line", "8", as_text(&path)]);
    assert_code(&output, 1);
    assert_stored(&there(&server).await, &rows()[..6]);

    let rejected = folder.path().join("rejected");
    let flags = ["--on-broken-chain=continue", "--rejected"];
    let output = publish(
        &server,
        &[&flags[..], &[as_text(&rejected), as_text(&path)]].concat(),
    );
    assert_code(&output, 1);
    let intact = [&rows()[..6], &rows()[7..]].concat();
    assert_stored(&there(&server).await, &intact);
    assert_eq!(
        fs::read_to_string(&rejected).unwrap(),
        format!("{}\n", changed[6])
    );
}

#[tokio::test]
async fn a_removed_row_is_reported_with_the_hashes_on_both_sides() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut left = rows();
    left.remove(4);
    let path = trail(&folder, &left);
    let output = publish(&server, &[as_text(&path)]);
    assert_code(&output, 1);
    let hash = |row: usize| hash_of(&rows()[row]);
    let expected = format!(
        "audit-trail.jsonl:5:1: the audit trail's chain is broken: rows before this one were removed, added or moved: \
         its prev_hash is {}, expected is {}",
        hash(4),
        hash(3)
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    assert_stored(&there(&server).await, &rows()[..4]);
    let output = publish(&server, &["--on-broken-chain=continue", as_text(&path)]);
    assert_code(&output, 1);
    assert_stored(&there(&server).await, &left);
}

#[tokio::test]
async fn missing_last_rows_and_an_incomplete_row_are_reported() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let path = trail(&folder, &rows()[..18]);
    let head = Path::new(RECORDED).join("audit-trail.head");
    fs::copy(head, folder.path().join("audit-trail.head")).unwrap();
    let output = publish(&server, &[as_text(&path)]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:18:1: "), "{text}");
    assert!(text.contains("rows were removed from the end"), "{text}");
    assert_stored(&there(&server).await, &rows()[..18]);
    // CellOS was stopped while it wrote the row.
    append(&path, &[rows()[18][..200].to_owned()]);
    let output = publish(&server, &[as_text(&path)]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:19:1: "), "{text}");
    assert!(text.contains("it is no JSON object"), "{text}");
    assert_stored(&there(&server).await, &rows()[..18]);
}

#[test]
fn a_trail_is_verified_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let whole = format!("{RECORDED}/audit-trail.jsonl");
    let dry_run = |path: &str| run(&[&FORMAT[..], &["--dry-run", path]].concat());
    assert_code(&dry_run(&whole), 0);
    let mut moved = rows();
    moved.swap(2, 3);
    let output = dry_run(as_text(&trail(&folder, &moved)));
    assert_code(&output, 1);
    assert!(stderr(&output).contains("audit-trail.jsonl:3:1: "));
    // As another format it is recognised.
    let output = run(&["--subject", "e", "--dry-run", &whole]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("--format cellos-audit-trail"), "{text}");
}

#[test]
fn flags_that_have_no_effect_are_refused() {
    for (flags, expected) in [
        (
            &["--on-broken-chain=continue"][..],
            "--format cellos-audit-trail",
        ),
        (
            &["--format=cellos-audit-trail", "--id=content"],
            "message ids from the subject and the hash of each row",
        ),
    ] {
        let output = run(&[&["--subject", "e", "--dry-run"], flags].concat());
        assert_code(&output, 2);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn saved_hash_that_can_not_be_used_is_reported_and_a_missing_one_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let path = trail(&folder, &rows[..15]);
    let head = folder.path().join("audit-trail.head");
    let check = |more: &[&str]| run(&[&FORMAT[..], &["--dry-run", as_text(&path)], more].concat());
    let unverified = |reason: &str| {
        for more in [&[][..], &["--on-broken-chain=continue"]] {
            let output = check(more);
            assert_code(&output, 1);
            let text = stderr(&output);
            let report = "audit-trail.jsonl:15:1: the end of the audit trail was not verified: the .head file";
            assert!(text.contains(&format!("{report} {reason}")), "{text}");
            assert!(!text.contains("resume"), "nothing was published: {text}");
        }
    };
    for text in ["", "zzz", &hash_of(&rows[14]).to_uppercase()] {
        fs::write(&head, text).unwrap();
        unverified("has no hash");
    }
    fs::remove_file(&head).unwrap();
    let output = check(&[]);
    assert_code(&output, 0);
    let text = stderr(&output);
    assert!(
        text.contains("the end of the trail was not verified"),
        "{text}"
    );
    fs::create_dir(&head).unwrap();
    unverified("can't be read: ");
    fs::remove_dir(&head).unwrap();
    fs::write(&head, hash_of(&rows[14])).unwrap();
    let output = check(&[]);
    assert_code(&output, 0);
    assert!(!stderr(&output).contains("not verified"));

    // A trail without a line.
    fs::write(&path, "").unwrap();
    let output = publish(&server().await, &[as_text(&path)]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("audit-trail.jsonl:1:1: "), "{text}");
    assert_eq!(resume_line(&output), "1", "a line that --from-line takes");
}
