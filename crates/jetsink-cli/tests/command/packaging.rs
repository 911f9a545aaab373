//! Completions, manual pages, and the command lines in deploy/.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::*;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

#[test]
fn each_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = command("completions", &[shell]).output().unwrap();
        assert_code(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("retention-floor"), "{shell}: {text}");
        if shell == "bash" {
            let mut bash = Command::new("bash");
            let read = bash.args(["-n", "-c", &text]).status().unwrap();
            assert!(read.success());
        }
    }
    assert_code(&command("completions", &["cmd"]).output().unwrap(), 2);
}

#[test]
fn each_command_has_its_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let directory = ["--directory", as_text(folder.path())];
    assert_code(&command("man", &directory).output().unwrap(), 0);
    let pages = std::fs::read_dir(folder.path()).unwrap();
    let pages: BTreeSet<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["jetsink", "jetsink-publish", "jetsink-spool-replay"] {
        assert!(pages.contains(&format!("{page}.1")), "{pages:?}");
    }
    let page = std::fs::read_to_string(folder.path().join("jetsink-publish.1")).unwrap();
    assert!(page.contains(".TH jetsink-publish 1") && page.contains("Exit codes:"));
    let first = command("man", &[]).output().unwrap();
    assert!(String::from_utf8(first.stdout).unwrap().contains(".SH"));
    let nowhere = command("man", &["--directory", "/no/such/folder"]);
    assert_code(&{ nowhere }.output().unwrap(), 2);
}

/// The words behind the command's name in the unit, whose variables are filled in.
fn words_of_unit() -> Vec<String> {
    let unit = std::fs::read_to_string(format!("{DEPLOY}/systemd/jetsink-publish@.service"));
    let unit = unit.unwrap().replace("\\\n", " ");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words = start.unwrap().split_whitespace().skip(1);
    words.map(str::to_owned).collect()
}

fn words_of_pod() -> Vec<String> {
    let pod = std::fs::read_to_string(format!("{DEPLOY}/kubernetes/publish-sidecar.yaml")).unwrap();
    let arguments = pod.split("args:\n").nth(1).unwrap();
    let arguments = arguments.split("env:\n").next().unwrap().lines();
    arguments
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn command_lines_of_the_unit_and_of_the_pod_publish_a_growing_file() {
    for words in [words_of_unit(), words_of_pod()] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let state = as_text(folder.path());
        let words: Vec<String> = words
            .into_iter()
            // systemd splits it at its spaces.
            .flat_map(|word| match &*word {
                "$JETSINK_FLAGS" => vec!["--spool-limit".to_owned(), "64MiB".to_owned()],
                _ => vec![word],
            })
            .map(|word| {
                word.replace("${STATE_DIRECTORY}", state)
                    .replace("/var/lib/events", state)
                    .replace("${JETSINK_FILE}", &format!("{state}/events.jsonl"))
                    .replace("${JETSINK_METRICS}", "127.0.0.1:0")
                    .replace("0.0.0.0:9464", "127.0.0.1:0")
            })
            .collect();
        let (name, flags) = words.split_first().unwrap();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let lines = lines(50);
        file_of(&folder, "events.jsonl", &lines);
        let child = command(name, &flags)
            .env("NATS_URL", server.url())
            // The unit takes it from its environment; a flag answers before it.
            .env("JETSINK_SUBJECT", "events.{tenantId}")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let cellos = flags.iter().any(|flag| flag.contains("cellos.events"));
        if cellos {
            server
                .create_stream("CELLOS_EVENTS", &["cellos.events.>"])
                .await
                .unwrap();
        }
        let stream = if cellos { "CELLOS_EVENTS" } else { "EVENTS" };
        let jetstream = server.jetstream().await.unwrap();
        while nats_local::stored(&jetstream, stream).await.unwrap().len() < lines.len() {
            assert!(started.elapsed() < Duration::from_secs(20), "{words:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        assert_code(&child.wait_with_output().unwrap(), 0);
    }
}

/// The variables of a file with lines such as `NAME=value` or `{name: NAME, value: "value"}`.
fn variables_of(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("{DEPLOY}/{file}")).unwrap();
    let found = text.lines().filter_map(|line| {
        let line = line.trim();
        let (name, value) = match line.strip_prefix("- {name: ") {
            Some(rest) => rest.strip_suffix('}')?.split_once(", value: ")?,
            None => line.split_once('=')?,
        };
        let is_ours = name.starts_with("JETSINK_") || name.starts_with("NATS_");
        is_ours.then(|| (name.to_owned(), value.trim_matches('"').to_owned()))
    });
    found.collect()
}

#[test]
fn gateways_of_units_and_pods_have_valid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let access = folder.path().join("access.toml");
    let token = [
        "new",
        "--name",
        "shop",
        "--subject",
        "shop.>",
        "--file",
        as_text(&access),
    ];
    let made = command("serve", &[&["token"][..], &token].concat()).output();
    assert_code(&made.unwrap(), 0);
    for (file, settings) in [
        ("systemd/jetsink-serve.env.example", 4),
        ("kubernetes/serve-sidecar.yaml", 8),
        ("kubernetes/serve-daemonset.yaml", 11),
    ] {
        let variables = variables_of(file);
        assert!(variables.len() >= settings, "{file}: {variables:?}");
        // The login is the operator's.
        let variables = variables
            .into_iter()
            .filter(|(name, _)| name != "NATS_CREDS");
        let variables = variables.map(|(name, value)| {
            let value = match name.as_str() {
                "JETSINK_ACCESS" => as_text(&access).to_owned(),
                _ => value,
            };
            (name, value)
        });
        let mut check = command("serve", &["--check"]);
        let checked = check.envs(variables).output().unwrap();
        assert_code(&checked, 0);
        let shown = String::from_utf8(checked.stdout).unwrap();
        for name in [
            "JETSINK_SUBJECT",
            "JETSINK_LISTEN",
            "JETSINK_ADMIN_LISTEN",
            "NATS_URL",
        ] {
            assert!(shown.contains(&format!("# {name}")), "{file}: {shown}");
        }
    }
}

#[test]
fn unit_of_the_gateway_has_valid_flags() {
    let unit = std::fs::read_to_string(format!("{DEPLOY}/systemd/jetsink-serve.service")).unwrap();
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words = start
        .unwrap()
        .replace("${STATE_DIRECTORY}", "/var/lib/jetsink/serve");
    let words: Vec<&str> = words.split_whitespace().skip(2).collect();
    let flags = [&words[..], &["--check", "--subject", "events.all"]].concat();
    assert_code(&command("serve", &flags).output().unwrap(), 0);
}
