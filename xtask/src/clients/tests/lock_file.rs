use super::*;

fn lock_file(packages: &[(&str, &str, bool)]) -> String {
    let mut text = "version = 4\n".to_owned();
    for (name, version, in_registry) in packages {
        text.push_str(&format!(
            "[[package]]\nname = {name:?}\nversion = {version:?}\n"
        ));
        if *in_registry {
            text.push_str("source = \"registry\"\n");
        }
    }
    text
}

const BEFORE: [(&str, &str, bool); 3] = [
    ("sink", "0.6.0-pre", true),
    ("tokio", "1.52.3", true),
    ("nats", "0.49.1", true),
];

fn judged(after: &[(&str, &str, bool)]) -> Result<()> {
    let changes = compare(&lock_file(&BEFORE), &lock_file(after)).unwrap();
    only_replaces(&changes, "sink")
}

#[test]
fn replaced_sink_may_bring_packages() {
    let after = [
        ("sink", "0.6.0-pre", false),
        ("tokio", "1.52.3", true),
        ("nats", "0.49.1", true),
        ("nats", "0.51.0", true),
        ("jetsink", "0.1.0", false),
    ];
    judged(&after).unwrap();
}

#[test]
fn changed_version_missing_package_and_unused_patch_are_each_found() {
    let tokio = judged(&[
        ("sink", "0.6.0-pre", false),
        ("tokio", "1.54.1", true),
        ("nats", "0.49.1", true),
    ]);
    assert!(tokio.unwrap_err().to_string().contains("1.52.3"));
    let missing = [("sink", "0.6.0-pre", false), ("tokio", "1.52.3", true)];
    assert!(judged(&missing).is_err());
    assert!(judged(&BEFORE).is_err());
}
