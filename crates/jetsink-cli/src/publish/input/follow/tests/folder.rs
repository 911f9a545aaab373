use super::*;
use crate::publish::input::follow::history::History;

fn track(name: &str) -> Arc<Track> {
    let path: Arc<Path> = Path::new("/logs").join(name).into();
    let history = History::new(path, Time::ZERO, || "name".into());
    Arc::new(Track::new(0, 1, None, history))
}

fn folder(named: &[&str], pattern: Option<&str>) -> Folder {
    let mut folder = Folder::new("/logs".into());
    for name in named {
        folder.add(track(name), true);
    }
    if let Some(pattern) = pattern {
        let pattern = Pattern::new(pattern).unwrap();
        folder.want(Wanted { index: 7, pattern });
    }
    folder
}

/// The owner as text: the log, and whether the name was asked for or is that of a rotated file.
fn owner(folder: &Folder, name: &str) -> String {
    match folder.owner(OsStr::new(name)) {
        None => "none".to_owned(),
        Some(Owner::New(index)) => format!("new {index}"),
        Some(Owner::Known(index, place)) => {
            let base = folder.logs[index].base.display();
            match place {
                Place::Asked => format!("{base}"),
                Place::Rotated { asked, .. } => format!("{base} rotated, asked {asked}"),
                Place::Elsewhere => format!("{base} elsewhere"),
            }
        }
    }
}

#[test]
fn a_named_log_owns_its_name_and_the_names_of_its_rotation() {
    let folder = folder(&["ev.jsonl", "ev.jsonl.1"], None);
    for (name, expected) in [
        ("ev.jsonl", "ev.jsonl"),
        ("ev.jsonl.1", "ev.jsonl.1"),
        ("ev.jsonl.2", "ev.jsonl rotated, asked false"),
        ("ev.jsonl.1.gz", "ev.jsonl.1 rotated, asked false"),
        ("ev-2.jsonl", "ev.jsonl rotated, asked false"),
        ("other.jsonl", "none"),
    ] {
        assert_eq!(owner(&folder, name), expected, "{name}");
    }
}

#[test]
fn names_of_a_pattern_are_logs_unless_they_are_certainly_rotated() {
    let mut folder = folder(&[], Some("*.jsonl"));
    assert_eq!(owner(&folder, "ev.jsonl"), "new 7");
    folder.add(track("ev.jsonl"), false);
    for (name, expected) in [
        ("ev.jsonl", "ev.jsonl"),
        ("ev-20261130.jsonl", "ev.jsonl rotated, asked true"),
        ("ev.jsonl.1", "ev.jsonl rotated, asked false"),
        ("ev-2.jsonl", "new 7"),
        ("other.jsonl", "new 7"),
        (".hidden.jsonl", "none"),
        ("ev.txt", "none"),
    ] {
        assert_eq!(owner(&folder, name), expected, "{name}");
    }
}

#[test]
fn files_that_differ_by_a_date_are_one_log_without_a_file_of_its_own() {
    let mut folder = folder(&[], Some("ev.*"));
    folder.add(track("ev.2026-11-29"), false);
    assert_eq!(owner(&folder, "ev.2026-11-30"), "ev.2026-11-29");
    assert_eq!(owner(&folder, "ev.2026-11-30.gz"), "ev.2026-11-29");
    assert_eq!(owner(&folder, "ex.2026-11-30"), "none");
    let mut folder = self::folder(&[], Some("ev.*[0-9]"));
    folder.add(track("ev.2026-11-29"), false);
    assert_eq!(
        owner(&folder, "ev.2026-11-30.gz"),
        "ev.2026-11-29 rotated, asked false"
    );
}
