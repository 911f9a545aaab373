use super::*;

#[test]
fn a_position_of_version_1_is_resumed() {
    let text = br#"{"version":1,"device":1,"inode":2,"born":3,"name":"n","offset":10,"line":2,"head_bytes":10,"head":"abc"}"#;
    let saved = SavedTrack::parse(text).unwrap();
    assert_eq!(saved.read_before, Some(3));
    let [generation] = &saved.generations[..] else {
        panic!("{saved:?}");
    };
    assert_eq!((generation.offset, generation.line), (10, 2));
    assert_eq!(
        (generation.file.id.inode, generation.name.as_str()),
        (2, "n")
    );
    assert!(!generation.is_finished);
}

#[test]
fn a_saved_position_is_read_again() {
    let text = br#"{"version":1,"device":1,"inode":2,"born":null,"name":"n","offset":0,"line":0,"head_bytes":0,"head":""}"#;
    let saved = SavedTrack::parse(text).unwrap();
    let text = serde_json::to_vec(&saved).unwrap();
    assert_eq!(SavedTrack::parse(&text).unwrap(), saved);
}

#[test]
fn an_unknown_version_and_a_broken_file_are_errors() {
    for text in [
        &br#"{"version":9}"#[..],
        b"",
        b"{}",
        br#"{"version":2}"#,
        br#"{"version":1,"device":1,"inode":2,"born":3,"name":"n","offset":10,"line":2,"head_bytes":1025,"head":"abc"}"#,
    ] {
        assert!(SavedTrack::parse(text).is_err());
    }
}

#[test]
fn the_hash_of_the_last_row_is_saved_and_checked() {
    let hash = "8c".repeat(32);
    let text = |hash: &str| {
        format!(
            r#"{{"version":2,"path":"p","generations":[{{"device":1,"inode":2,"born":3,"head_bytes":0,"head":"","length":9,"name":"n","offset":9,"line":1,"is_finished":false,"is_compressed":false,"row_hash":"{hash}"}}],"others":[]}}"#
        )
    };
    let saved = SavedTrack::parse(text(&hash).as_bytes()).unwrap();
    let again = serde_json::to_string(&saved).unwrap();
    assert_eq!(again, text(&hash));
    assert!(SavedTrack::parse(text("8c").as_bytes()).is_err());
}

#[test]
fn a_check_leaves_the_files_of_a_running_follower() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("position");
    let files = [path.clone(), with_suffix(&path)];
    for file in &files {
        fs::write(file, "of another run").unwrap();
    }
    Positions::check(&path).unwrap();
    for file in &files {
        assert_eq!(fs::read_to_string(file).unwrap(), "of another run");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(Positions::check(&folder.path().join("missing/position")).is_err());
}

#[test]
fn file_without_a_position_is_named_with_the_remedy() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "garbage").unwrap();
    let error = SavedTrack::load(file.path()).unwrap_err().to_string();
    assert!(error.contains("it has no saved position: "), "{error}");
    assert!(error.contains("delete the file to start anew"), "{error}");
}
