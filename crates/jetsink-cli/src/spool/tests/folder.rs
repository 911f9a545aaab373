use std::fs;

use super::*;

fn checked(folder: &Path, named: Option<&Path>) -> Result<(), FolderOfCellos> {
    check_folder(folder, |name| {
        assert_eq!(name, "CELLOS_SPOOL_DIR");
        named.map(|named| named.display().to_string())
    })
}

#[test]
fn a_folder_that_the_variable_names_is_refused_whatever_its_name() {
    let base = tempfile::tempdir().unwrap();
    let own = base.path().join("own");
    fs::create_dir(&own).unwrap();
    #[cfg(unix)]
    let links = {
        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).unwrap();
        // The last one does not exist.
        [
            (own.clone(), link.join("own")),
            (link.join("new"), base.path().join("new")),
        ]
    };
    #[cfg(not(unix))]
    let links = [];
    let same = [
        (own.clone(), own.clone()),
        (own.join("."), own.clone()),
        (own.join("new"), own.join("./new/")),
    ];
    for (folder, named) in same.into_iter().chain(links) {
        let error = checked(&folder, Some(&named)).unwrap_err().to_string();
        assert!(error.contains("CELLOS_SPOOL_DIR names it"), "{error}");
    }
    for other in [Path::new(""), base.path(), &own.join("below")] {
        assert_eq!(checked(&own, Some(other)), Ok(()));
    }
    assert_eq!(checked(&own, None), Ok(()));
}

#[test]
fn a_folder_with_a_trail_is_refused_without_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(checked(folder.path(), None), Ok(()));
    fs::write(folder.path().join("audit-trail.jsonl"), "").unwrap();
    for named in [None, Some(Path::new("/elsewhere"))] {
        let error = checked(folder.path(), named).unwrap_err().to_string();
        assert!(error.contains("it contains audit-trail.jsonl"), "{error}");
    }
}
