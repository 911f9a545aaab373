use super::*;

fn of(template: &str, tenants: &[&str]) -> Vec<String> {
    let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
    let subjects = subjects(template, &tenants).unwrap();
    subjects.into_iter().map(String::from).collect()
}

#[test]
fn a_glob_takes_whole_types() {
    for (glob, text) in [
        ("dev.cellos.*", "dev.cellos.cell.started"),
        ("*.destroyed", "a.b.destroyed"),
        ("*a*b*", "xxaxxbxab"),
        ("a?c", "aüc"),
        ("", ""),
        ("*", ""),
    ] {
        assert!(is_like(glob, text), "{glob} {text}");
    }
    for (glob, text) in [
        ("dev.cellos", "dev.cellos.x"),
        ("*.destroyed", "a.destroyed.v1"),
        ("a?c", "ac"),
        ("", "a"),
        ("*a", "ab"),
    ] {
        assert!(!is_like(glob, text), "{glob} {text}");
    }
    assert!(
        !is_like(&"*a".repeat(40), &"a".repeat(39)),
        "and takes no time"
    );
}

#[test]
fn template_and_tenants_make_the_subjects() {
    assert_eq!(of("e.{tenantId}", &["acme"]), ["e.acme"]);
    assert_eq!(of("e.{tenantId}", &[]), ["e.*"]);
    assert_eq!(of("e.{tenantId}.{type}", &["a", "b"]), ["e.a.*", "e.b.*"]);
    assert_eq!(of("e.t-{tenantId}.x-{source}", &["a"]), ["e.t-a.*"]);
    assert_eq!(of("e.{tenantId}", &["a.b"]), ["e.a%2Eb"]);
    assert_eq!(of("e.{tenantId}", &["50%"]), ["e.50%", "e.50%25"]);
    assert_eq!(of("e.>", &["acme"]), ["e.>"]);
    assert_eq!(of("e.{tenantId}.>", &["a"]), ["e.a.>"]);
    assert_eq!(of("e.*.{tenantId}", &["a"]), ["e.*.a"]);
    assert_eq!(of("e.{tenantId}.{type:levels}", &["a"]), ["e.a.>"]);
    assert_eq!(of("e.{subject:levels|a.b}.{tenantId}", &["a"]), ["e.>"]);
    assert_eq!(of("e.{partitionkey}.{tenantId|no}", &["a"]), ["e.*.a"]);
    for wrong in [
        "",
        "a..b",
        "a b",
        "a.>.b",
        "a.b*",
        "e.{Tenant}",
        ">a",
        "{type}.a",
    ] {
        assert!(subjects(wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn a_misspelt_placeholder_is_named_and_an_id_that_looks_like_one_is_none() {
    for (wrong, name) in [
        ("e.{tenantId}.{Tyep}", "{Tyep}"),
        ("e.{tenantID}", "{tenantID}"),
        ("e.{type}-{TYPE}.x", "{TYPE}"),
        ("e.{tenantId}.{type", "'{' at byte 13"),
        ("e.{te{type}nantId}", "{te{type}"),
    ] {
        for tenants in [&[][..], &["a".to_owned()]] {
            let error = subjects(wrong, tenants).unwrap_err();
            assert!(error.contains(name), "{wrong}: {error}");
        }
    }
    let of_tenant = of("e.{tenantId}", &["{tenantId}"]);
    assert!(
        of_tenant.contains(&"e.{tenantId}".to_owned()),
        "{of_tenant:?}"
    );
    assert!(of("e.{tenantId}", &["{tyep}"]).contains(&"e.{tyep}".to_owned()));
}

#[test]
fn the_broker_is_asked_for_subjects_that_do_not_overlap() {
    let filter = |subjects: &[&str]| Filter {
        subjects: subjects.iter().map(|s| s.parse().unwrap()).collect(),
        ..Filter::default()
    };
    assert_eq!(filter(&["e.a", "e.b.*"]).at_the_broker().len(), 2);
    for overlapping in [
        ["e.*", "e.a"],
        ["e.>", "e.a.b"],
        ["*.a", "e.*"],
        ["e.a", "e.a"],
    ] {
        assert!(
            filter(&overlapping).at_the_broker().is_empty(),
            "{overlapping:?}"
        );
    }
    assert_eq!(filter(&["e.>", "e"]).at_the_broker().len(), 2);
}
