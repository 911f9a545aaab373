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
async fn the_command_lines_of_the_unit_and_of_the_pod_publish_what_is_written() {
    for words in [words_of_unit(), words_of_pod()] {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let state = as_text(folder.path());
        let words: Vec<String> = words
            .into_iter()
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
