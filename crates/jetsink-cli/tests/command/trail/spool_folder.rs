//! The folder of CellOS's trail is no folder for a spool.

use std::fs;
use std::path::Path;

use super::*;

#[test]
fn the_folder_of_the_trail_is_refused_as_spool_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = trail(&folder, &rows()[..1]);
    let elsewhere = tempfile::tempdir().unwrap();
    let linked = |name: &str, target: &Path| {
        let link = elsewhere.path().join(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        link
    };
    let file_link = linked("trail.jsonl", &path);
    let folder_link = linked("folder", folder.path());
    let dotted = folder.path().join(".");
    let patterns = [
        elsewhere.path().join("*/audit-trail.jsonl"),
        folder.path().with_file_name("*").join("*.jsonl"),
    ];
    // By a link that the pattern finds, and by the name of a folder.
    let [linked_pattern, pattern] = &patterns;
    let later_folder = elsewhere.path().join("later");
    let later = folder.path().join("later.jsonl");
    for (file, spool) in [
        (&path, folder.path()),
        (&path, &dotted),
        (&path, &folder_link),
        (&file_link, folder.path()),
        (&later, folder.path()),
        (linked_pattern, folder.path()),
        (linked_pattern, &later_folder),
        (pattern, folder.path()),
    ] {
        for follow in [&["--follow"][..], &[]] {
            let own = ["--spool", as_text(spool), as_text(file)];
            let output = run(&[&own, &FORMAT[..], follow].concat());
            assert_code(&output, 2);
            let text = stderr(&output);
            assert!(text.contains("is the folder of the audit trail"), "{text}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_folder_of_cellos_is_refused_for_every_spool_and_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(folder.path());
    let publish = ["--subject", "events.a", "--spool", spool];
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), format!("spool = {spool:?}\n")).unwrap();
    let serve = ["--check", "--subject", "events.a", "--config"];
    let serve = [&serve[..], &[as_text(config.path())]].concat();
    for (command_line, place) in [
        (("publish", &publish[..]), "--spool: "),
        (("serve", &publish[..]), "--spool: "),
        (("serve", &serve[..]), as_text(config.path())),
    ] {
        let (subcommand, arguments) = command_line;
        let mut command = command(subcommand, arguments);
        let output = command.env("CELLOS_SPOOL_DIR", spool).output().unwrap();
        assert_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains(place), "{text}");
        let expected = "is the folder of CellOS's audit trail: CELLOS_SPOOL_DIR names it";
        assert!(text.contains(expected), "{text}");
    }
    // Without the variable, by the trail.
    trail(&folder, &rows()[..1]);
    let output = run(&publish);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("it contains audit-trail.jsonl"));
    // `spool` creates none, so it writes nothing there.
    for subcommand in ["status", "list", "verify", "export", "dead", "replay"] {
        let output = command("spool", &[subcommand, spool]).output().unwrap();
        assert_code(&output, 2);
        assert!(stderr(&output).contains("there is no spool"));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_spool_in_the_folder_of_cellos_can_be_emptied() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = as_text(folder.path());
    let arguments = ["--subject", "events.a", "--spool", spool];
    let away = ["--server", "nats://127.0.0.1:1", "--max-outage", "100ms"];
    let output = with_input(&[&arguments[..], &away].concat(), event(0).as_bytes());
    assert_code(&output, 4);
    trail(&folder, &rows()[..1]);
    let mut replay = command("spool", &["replay", spool, "--server", &server.url()]);
    let output = replay.env("CELLOS_SPOOL_DIR", spool).output().unwrap();
    assert_code(&output, 0);
    assert_eq!(count(&server).await, 1);
}
