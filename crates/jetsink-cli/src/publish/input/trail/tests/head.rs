use std::fs;

use super::super::tests::{RECORDED, recorded_head, recorded_rows};
use super::*;
use crate::publish::arguments::OnBrokenChain;
use crate::publish::input::LineLocation;
use crate::publish::input::trail::Trail;

/// A folder with a trail, and its path.
fn trail(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit-trail.jsonl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn save(path: &Path, hash: Hash) {
    fs::write(path.with_extension("head"), hash.to_hex().as_str()).unwrap();
}

#[test]
fn the_saved_hash_is_read_beside_the_file_it_belongs_to() {
    let (folder, path) = trail(RECORDED);
    let file = File::open(&path).unwrap();
    let head = HeadFile::of(&path, &file).unwrap();
    assert_eq!(head.read(), Saved::Missing);
    save(&path, recorded_head().unwrap());
    assert_eq!(head.read().hash(), recorded_head());
    for unusable in ["", "zzz", &recorded_head().unwrap().to_hex().to_uppercase()] {
        fs::write(path.with_extension("head"), unusable).unwrap();
        assert!(matches!(head.read(), Saved::Unusable(_)), "{unusable:?}");
    }
    fs::remove_file(path.with_extension("head")).unwrap();
    fs::create_dir(path.with_extension("head")).unwrap();
    assert!(matches!(head.read(), Saved::Unusable(_)), "unreadable");
    // A new trail has begun, and the saved hash belongs to it.
    let archive = folder.path().join("audit-trail.jsonl.1");
    fs::rename(&path, &archive).unwrap();
    fs::write(&path, b"").unwrap();
    assert_eq!(head.read(), Saved::OfAnotherFile);
    assert!(HeadFile::of(&archive, &file).is_none());
}

#[test]
fn rows_are_missing_only_if_the_saved_hash_stays_that_of_no_row() {
    let older = blake3::hash(b"of an older trail");
    let last = recorded_head().unwrap();
    let other = blake3::hash(b"of a removed row");
    for (saved_later, reported) in [(last, None), (older, Some(older)), (other, Some(other))] {
        let (_folder, path) = trail(RECORDED);
        save(&path, older);
        let file = File::open(&path).unwrap();
        let mut trail = Trail::of_file(&path, &file, OnBrokenChain::Continue);
        let location = LineLocation {
            file: path.as_path().into(),
            index: 0,
            line: 0,
            event: None,
        };
        for row in recorded_rows() {
            trail.chain.line(&row.into(), 1);
        }
        assert!(trail.is_short(&[]));
        save(&path, saved_later);
        let report = trail
            .end(&location)
            .map(|line| line.event.unwrap_err().message);
        match reported {
            None => assert_eq!(report, None),
            Some(hash) => {
                let report = report.unwrap();
                assert!(
                    report.contains(&format!("the .head file has {hash}")),
                    "{report}"
                );
            }
        }
        assert!(!trail.is_short(&[]), "it is reported once");
    }
}

#[test]
fn no_row_is_missing_if_the_last_one_has_no_line_end() {
    let (_folder, path) = trail(RECORDED);
    save(&path, recorded_head().unwrap());
    let file = File::open(&path).unwrap();
    let mut trail = Trail::of_file(&path, &file, OnBrokenChain::Continue);
    let rows = recorded_rows();
    let (last, others) = rows.split_last().unwrap();
    for row in others {
        trail.chain.line(&(*row).into(), 1);
    }
    assert!(!trail.is_short(last.trim_ascii_end()));
    assert!(trail.is_short(&last[..300]), "an incomplete row");
    assert!(trail.is_short(&[]));
}

// A reviewer's finding: the note that there is no .head file was about the time before the first row.
#[test]
fn hash_that_is_saved_while_the_rows_are_read_is_checked_at_the_end() {
    let last = recorded_head().unwrap();
    let removed = blake3::hash(b"of a removed row");
    for (saved, is_broken) in [(None, false), (Some(last), false), (Some(removed), true)] {
        let (_folder, path) = trail(RECORDED);
        let file = File::open(&path).unwrap();
        let mut trail = Trail::of_file(&path, &file, OnBrokenChain::Continue);
        for row in recorded_rows() {
            trail.chain.line(&row.into(), 1);
        }
        if let Some(saved) = saved {
            save(&path, saved);
        }
        let location = LineLocation {
            file: path.as_path().into(),
            index: 0,
            line: 1,
            event: None,
        };
        assert_eq!(trail.end(&location).is_some(), is_broken, "{saved:?}");
        assert_eq!(trail.has_unverified_end(), saved.is_none());
    }
}
