//! `publish --spool` and `jetsink spool …`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

use nats_local::NatsServer;

use crate::support::*;

fn spool(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_jetsink"))
        .arg("spool")
        .args(arguments)
        .env_remove("NATS_URL")
        .env("XDG_CONFIG_HOME", "/no/such/folder")
        .output()
        .unwrap();
    println!("{arguments:?}: {}", stderr(&output));
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Publishes the sample while there is no broker.
fn publish_without_broker(server: &NatsServer, folder: &Path, more: &[&str]) -> Output {
    let url = server.url();
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.{tenantId}",
        "--spool",
        as_text(folder),
        "--max-outage",
        "0",
    ];
    run(&[&flags[..], more, &[SAMPLES]].concat())
}

#[tokio::test]
async fn events_published_without_a_broker_are_listed_and_replayed_once() {
    let mut server = server().await;
    let url = server.url();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    let output = publish_without_broker(&server, folder.path(), &["--json"]);
    assert_code(&output, 4);
    let summary = json(&output);
    assert_eq!(summary["spooled"], 102);
    assert_eq!(summary["left_in_spool"], 102);
    assert_eq!(summary["stored"], 0);

    let status = spool(&["status", directory]);
    assert_code(&status, 0);
    let text = stdout(&status);
    assert!(text.starts_with("102 pending events of 3 subjects, the oldest since 20"));
    assert!(text.contains("Z; 0 dead letters; "), "{text}");
    assert_eq!(
        json(&spool(&["status", directory, "--json"]))["events"],
        102
    );
    let list = stdout(&spool(&["list", directory]));
    assert_eq!(list.lines().count(), 102);
    assert!(
        list.lines()
            .all(|line| line.contains(" events.") && line.ends_with(" bytes"))
    );
    let verify = spool(&["verify", directory]);
    assert_code(&verify, 0);
    assert!(stdout(&verify).starts_with("102 events and 0 dead letters can be read"));

    // The export has the lines that were read, subject by subject.
    let export = spool(&["export", directory]);
    assert_code(&export, 0);
    let sample = std::fs::read_to_string(SAMPLES).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&stdout(&export)), sorted(&sample));

    let without = spool(&["replay", directory, "-s", &url, "--wait", "100ms"]);
    assert_code(&without, 4);
    assert!(stdout(&without).starts_with("0 events delivered, 102 left"));
    server.restart().await.unwrap();
    let replayed = spool(&["replay", directory, "-s", &url]);
    assert_code(&replayed, 0);
    assert!(stdout(&replayed).starts_with("102 events delivered, 0 left"));
    let there = there(&server).await;
    assert_eq!(there.len(), 102);
    for tenant in ["acme", "globex", "single"] {
        let subject = format!("events.{tenant}");
        let stored = there.iter().filter(|message| message.subject == subject);
        let stored: Vec<_> = stored.map(|message| message.payload.clone()).collect();
        let read: Vec<_> = sample
            .lines()
            .filter(|line| stored.iter().any(|payload| payload == line.as_bytes()))
            .collect();
        assert_eq!(stored, read);
    }
    assert_eq!(json(&spool(&["status", directory, "--json"]))["events"], 0);
}

#[tokio::test]
async fn an_export_of_binary_events_can_be_published_again() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = publish_without_broker(&server, folder.path(), &["--mode", "binary"]);
    assert_code(&output, 4);
    let export = spool(&["export", as_text(folder.path())]);
    assert_code(&export, 0);
    let events = |text: &str| {
        let parsed = text.lines().map(|line| {
            let mut event: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
            // An attribute that is null is one that is not there.
            event.retain(|_, value: &mut serde_json::Value| !value.is_null());
            serde_json::Value::Object(event).to_string()
        });
        let mut events: Vec<String> = parsed.collect();
        events.sort();
        events
    };
    let sample = std::fs::read_to_string(SAMPLES).unwrap();
    assert!(events(&stdout(&export)) == events(&sample));
    assert_code(
        &with_input(&["--subject", "e", "--dry-run"], &export.stdout),
        0,
    );
}

#[tokio::test]
async fn every_exported_line_can_be_published_again_and_replay_never_validates() {
    let input = [
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"yesterday","n":7,"data":"x"}"#,
        r#"{"specversion":"0.3","id":"","source":"a b","type":"","subject":"","n":0.50}"#,
        r#"{"specversion":"1.0","id":"2","source":"/s","type":"t","data_base64":"MTIz"}"#,
        r#"{"specversion":"1.0","id":"3","source":"/s","type":"t","data":{"n":1e999,"s":"\ud800"}}"#,
        r#"{"specversion":"1.0","id":"4\u0007","source":"/s","type":"t","datacontenttype":"","data":"\u0000"}"#,
        r#"{"specversion":"1.0","id":"5","source":"/s","type":"t"}"#,
    ];
    let valid = [2, 3, 5];
    for mode in ["structured", "binary"] {
        let mut server = server().await;
        let url = server.url();
        server.kill().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let directory = as_text(folder.path());
        let to_spool = [
            "-s",
            &url,
            "--subject",
            "events.a",
            "--spool",
            directory,
            "--max-outage",
            "0",
            "--mode",
            mode,
            "--lenient",
            "--json",
        ];
        let output = with_input(&to_spool, input.join("\n").as_bytes());
        assert_code(&output, 4);
        assert_eq!(json(&output)["lenient"], 3);

        let export = spool(&["export", directory]);
        assert_code(&export, 0);
        let note = "3 events of these break rules of CloudEvents";
        assert!(stderr(&export).contains(note), "{}", stderr(&export));
        let lines: Vec<String> = stdout(&export).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), input.len());
        if mode == "structured" {
            assert_eq!(lines, input);
        }
        let objects = stdout(&spool(&["export", directory, "--json"]));
        for (object, line) in objects.lines().zip(&lines) {
            assert!(
                object.ends_with(&format!(",\"event\":{line}}}")),
                "{object}"
            );
        }
        for again in ["structured", "binary"] {
            let check = ["--subject", "e", "--dry-run", "--mode", again];
            let lenient = [&check[..], &["--lenient"]].concat();
            assert_code(&with_input(&lenient, &export.stdout), 0);
            for (index, line) in lines.iter().enumerate() {
                let code = i32::from(!valid.contains(&index));
                assert_code(&with_input(&check, line.as_bytes()), code);
            }
        }

        server.restart().await.unwrap();
        assert_code(&spool(&["replay", directory, "-s", &url]), 0);
        assert_eq!(there(&server).await.len(), input.len());
    }
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_reason_and_can_be_revived_or_deleted() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    let large = folder.path().join("large.jsonl");
    let filler = "x".repeat(2 << 20);
    let line =
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"{filler}"}}"#);
    std::fs::write(&large, line).unwrap();
    let url = server.url();
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.a",
        "--spool",
        directory,
        "--max-outage",
        "0",
    ];
    assert_code(&run(&[&flags[..], &[as_text(&large)]].concat()), 4);
    server.restart().await.unwrap();
    let replay = || spool(&["replay", directory, "-s", &url]);
    let buried = replay();
    assert_code(&buried, 1);
    assert!(stdout(&buried).starts_with("0 events delivered, 0 left, 1 new dead letter"));
    assert_code(&replay(), 0);
    // Those of earlier runs are not the fault of this one.
    let flags = ["-s", &url, "--subject", "events.a", "--spool", directory];
    assert_code(&run(&[&flags[..], &[SAMPLES]].concat()), 0);
    let dead = spool(&["dead", directory]);
    assert!(
        stdout(&dead).contains("but the broker accepts 1048576"),
        "{}",
        stdout(&dead)
    );
    assert_eq!(
        json(&spool(&["dead", directory, "--json"]))["subject"],
        "events.a"
    );
    let export = json(&spool(&["export", directory, "--dead", "--json"]));
    assert_eq!(export["event"]["data"].as_str().unwrap().len(), 2 << 20);
    let revived = spool(&["dead", directory, "--revive", "--json"]);
    assert_eq!(json(&revived)["revived"], 1);
    assert_eq!(json(&spool(&["status", directory, "--json"]))["events"], 1);
    assert_code(&replay(), 1);
    assert_code(&spool(&["dead", directory, "--delete"]), 0);
    let status = json(&spool(&["status", directory, "--json"]));
    assert_eq!(
        (&status["events"], &status["dead_letters"]),
        (&0.into(), &0.into())
    );
}

/// A spool with a file of unknown content was no reason for an exit code, and its damage was logged twice.
#[tokio::test]
async fn publish_reports_files_of_its_spool_that_have_no_record_once() {
    let server = server().await;
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let segment = folder.path().join("000000000001-8129eabc239f0760.log");
    std::fs::write(segment, "no record").unwrap();
    let to = ["-s", &url, "--subject=events.a", "--json", "--spool"];
    let output = run(&[&to[..], &[as_text(folder.path()), SAMPLES]].concat());
    assert_code(&output, 1);
    let report = json(&output);
    assert_eq!(
        (&report["damaged"], &report["damaged_files"]),
        (&0.into(), &1.into())
    );
    let text = stderr(&output);
    assert_eq!(text.matches("unreadable files: 1").count(), 1, "{text}");
}

#[tokio::test]
async fn missing_or_damaged_spool_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    for command in ["status", "list", "verify", "replay", "dead", "export"] {
        let output = spool(&[command, directory]);
        assert_code(&output, 2);
        assert!(
            stderr(&output).contains("there is no spool in"),
            "{}",
            stderr(&output)
        );
    }
    let mut server = server().await;
    server.kill().unwrap();
    assert_code(&publish_without_broker(&server, folder.path(), &[]), 4);
    let files = std::fs::read_dir(folder.path()).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    let has_events = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
    let file = files.find(has_events).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let position = find(&bytes, b"\"specversion\"");
    bytes[position] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let before = files_in(folder.path());
    // A user's finding: the first look at the damage was the only one that reported it.
    for arguments in [
        &["status", directory][..],
        &["list", directory],
        &["export", directory],
        &["export", directory, "--dead"],
        &["dead", directory],
        &["discard", directory, "--subject", "no.such"],
        &["status", directory],
    ] {
        let output = spool(arguments);
        assert_code(&output, 1);
        assert!(stderr(&output).contains("records lost: 1"), "{arguments:?}");
        let verify = spool(&["verify", directory, "--json"]);
        assert_code(&verify, 1);
        let verify = json(&verify);
        assert_eq!(
            (&verify["damaged"], &verify["events"]),
            (&1.into(), &101.into())
        );
        assert!(files_in(folder.path()) == before, "{arguments:?}");
    }
    let text = stdout(&spool(&["verify", directory]));
    assert!(text.ends_with("\n1 record can't be read\n"), "{text}");
    let status = json(&spool(&["status", directory, "--json"]));
    assert_eq!(
        (&status["damaged"], &status["events"]),
        (&1.into(), &101.into())
    );
    assert!(has_damage(&status), "{status}");

    // A change repairs the damage, and reports it.
    let copy = || {
        let copy = tempfile::tempdir().unwrap();
        for (name, bytes) in &before {
            std::fs::write(copy.path().join(name), bytes).unwrap();
        }
        copy
    };
    server.restart().await.unwrap();
    let url = server.url();
    let replayed = copy();
    let replay = |more: &[&str]| {
        let replay = ["replay", as_text(replayed.path()), "-s", &url];
        spool(&[&replay[..], more].concat())
    };
    let first = replay(&["--json"]);
    assert_code(&first, 1);
    let summary = json(&first);
    assert_eq!(
        (&summary["damaged"], &summary["delivered"]),
        (&1.into(), &101.into())
    );
    assert!(has_damage(&summary), "{summary}");
    let second = replay(&["--json"]);
    assert_code(&second, 0);
    let summary = json(&second);
    assert_eq!(
        (&summary["damaged"], &summary["damage"]),
        (&0.into(), &serde_json::Value::Null)
    );
    let text = stdout(&spool(&["replay", as_text(copy().path()), "-s", &url]));
    assert!(text.contains(", 1 record damaged and lost\n"), "{text}");
    let discard = |more: &[&str]| {
        let copy = copy();
        let output = spool(&[&["discard", as_text(copy.path()), "--all"][..], more].concat());
        assert_code(&output, 1);
        output
    };
    let summary = json(&discard(&["--json"]));
    assert_eq!(
        (&summary["damaged"], &summary["discarded"]),
        (&1.into(), &101.into())
    );
    assert!(has_damage(&summary), "{summary}");
    let text = stderr(&discard(&[]));
    assert!(
        text.contains("101 events discarded, 1 record damaged and lost"),
        "{text}"
    );
    let publish = |more: &[&str]| {
        let copy = copy();
        let flags = ["-s", &url, "--subject", "events.a", "--spool"];
        let output = run(&[&flags[..], &[as_text(copy.path())], more, &["/dev/null"]].concat());
        assert_code(&output, 1);
        output
    };
    let summary = json(&publish(&["--json"]));
    assert_eq!(
        (&summary["damaged"], &summary["found_stored"]),
        (&1.into(), &101.into()),
        "the replay of the other copy has stored them"
    );
    let text = stderr(&publish(&[]));
    assert!(
        text.contains(", 1 record of the spool damaged and lost; "),
        "{text}"
    );
}

/// The files of a folder, with their names.
fn files_in(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|entry| entry.unwrap());
    let files = files.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()));
    files.collect()
}

/// Whether a report has the text of the damage.
fn has_damage(report: &serde_json::Value) -> bool {
    let damage = report["damage"].as_str();
    damage.is_some_and(|text| text.contains("records lost: 1"))
}

// A user's finding: two runs that never had a connection left "a replay was interrupted", and each look showed other times.
#[tokio::test]
async fn events_that_were_never_sent_are_none_that_may_be_stored() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    let url = server.url();
    for _ in 0..2 {
        let flags = ["-s", &url, "--subject", "events.{tenantId}"];
        let flags = [&flags[..], &["--spool", directory, "--max-outage", "300ms"]].concat();
        assert_code(&run(&[&flags[..], &[SAMPLES]].concat()), 4);
    }
    let replay = ["replay", directory, "-s", &url, "--wait", "300ms"];
    assert_code(&spool(&replay), 4);
    let status = spool(&["status", directory]);
    assert_code(&status, 0);
    assert_eq!(stderr(&status), "");
    let json_status = json(&spool(&["status", directory, "--json"]));
    assert_eq!(
        (&json_status["may_be_stored"], &json_status["events"]),
        (&false.into(), &204.into())
    );
    let fields_of = |command: &str| {
        let output = stdout(&spool(&[command, directory, "--json"]));
        let fields = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["may_be_stored"], false);
            (event["index"].clone(), event["spooled_at"].clone())
        };
        output.lines().map(fields).collect::<Vec<_>>()
    };
    let events = fields_of("list");
    assert_eq!(events.len(), 204);
    for _ in 0..3 {
        assert!(fields_of("list") == events && fields_of("export") == events);
        assert_eq!(stdout(&spool(&["status", directory])), stdout(&status));
    }
}

#[tokio::test]
async fn status_counts_segments_that_cant_be_read_now() {
    let mut server = server().await;
    let url = server.url();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (directory, lines) = (folder.path().join("spool"), folder.path().join("lines"));
    let directory = as_text(&directory);
    std::fs::write(&lines, std::fs::read(SAMPLES).unwrap().repeat(6)).unwrap();
    // Segments of 256 KiB.
    let flags = ["-s", &url, "--subject", "events.all", "--max-outage", "0"];
    let limit = ["--spool", directory, "--spool-limit", "4MiB"];
    let output = run(&[&flags[..], &limit, &[as_text(&lines)]].concat());
    assert_code(&output, 4);
    let files = std::fs::read_dir(directory).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let oldest = segments.min().unwrap();
    let aside = oldest.with_extension("aside");
    std::fs::rename(&oldest, &aside).unwrap();
    std::fs::create_dir(&oldest).unwrap();
    let status = spool(&["status", directory]);
    assert_code(&status, 1);
    let text = stdout(&status);
    assert!(text.contains("; 1 unreadable segment\n"), "{text}");
    let status = json(&spool(&["status", directory, "--json"]));
    assert_eq!(status["unreadable_segments"], 1);
    std::fs::remove_dir(&oldest).unwrap();
    std::fs::rename(&aside, &oldest).unwrap();
    let status = spool(&["status", directory, "--json"]);
    assert_code(&status, 0);
    let status = json(&status);
    assert_eq!(
        (&status["events"], &status["unreadable_segments"]),
        (&612.into(), &0.into())
    );
}

#[tokio::test]
async fn an_export_that_can_not_be_written_is_a_failure_and_a_closed_pipe_is_none() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    assert_code(&publish_without_broker(&server, folder.path(), &[]), 4);
    for arguments in [&["export"][..], &["list", "--json"], &["status"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let output = command("spool", arguments)
            .arg(directory)
            .stdout(full.unwrap())
            .output()
            .unwrap();
        assert_code(&output, 1);
        let text = stderr(&output);
        assert!(text.contains("standard output: No space left"), "{text}");
    }
    let script = format!(
        "{} spool export {directory} | head -1 >/dev/null",
        env!("CARGO_BIN_EXE_jetsink")
    );
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &script])
        .output()
        .unwrap();
    assert_code(&output, 0);
}

#[tokio::test]
async fn refused_subject_is_reported_with_its_reason_and_can_be_discarded() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    let url = server.url();
    let publish = |subject: &str| {
        run(&[
            "-s",
            &url,
            "--subject",
            subject,
            "--spool",
            directory,
            "--max-outage",
            "1s",
            SAMPLES,
        ])
    };
    let output = publish("evnets.typo");
    assert_code(&output, 4);
    let text = stderr(&output);
    assert!(
        text.contains("left in the spool: no stream captures the subject"),
        "{text}"
    );
    assert!(text.contains("(subject evnets.typo)"), "{text}");
    let output = publish("events.a");
    assert_code(&output, 4);
    assert!(
        stderr(&output).contains("102 left in the spool"),
        "{}",
        stderr(&output)
    );

    assert_code(&spool(&["discard", directory]), 2);
    assert_code(&spool(&["discard", directory, "--subject", "events.a"]), 1);
    let one = spool(&[
        "discard",
        directory,
        "--subject",
        "evnets.typo",
        "--index",
        "0",
        "--json",
    ]);
    assert_code(&one, 0);
    assert_eq!(json(&one)["discarded"], 1);
    assert_code(
        &spool(&["discard", directory, "--subject", "evnets.typo"]),
        0,
    );
    assert_code(&publish("events.b"), 0);

    assert_code(&publish("evnets.typo"), 4);
    assert_code(&spool(&["discard", directory, "--all", "--index", "0"]), 2);
    let all = spool(&["discard", directory, "--all", "--json"]);
    assert_code(&all, 0);
    assert_eq!(json(&all)["discarded"], 102);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_is_waited_for_while_the_maximum_outage_lasts() {
    let mut server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    server.kill().unwrap();
    let child = spawn(&[
        "-s",
        &url,
        "--subject",
        "events.{tenantId}",
        "--spool",
        as_text(folder.path()),
        "--spool-limit",
        "20KiB",
        "--max-outage",
        "60s",
        "--json",
        SAMPLES,
    ]);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    server.restart().await.unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 0);
    let summary = json(&output);
    let total =
        summary["stored"].as_u64().unwrap() + summary["delivered_from_spool"].as_u64().unwrap();
    assert_eq!(total, 102, "{summary}");
    let there = there(&server).await;
    let sample = std::fs::read_to_string(SAMPLES).unwrap();
    for tenant in ["acme", "globex", "single"] {
        let subject = format!("events.{tenant}");
        let stored = there.iter().filter(|message| message.subject == subject);
        let stored: Vec<_> = stored.map(|message| message.payload.clone()).collect();
        let read: Vec<_> = sample
            .lines()
            .filter(|line| stored.iter().any(|payload| payload == line.as_bytes()))
            .collect();
        assert_eq!(stored, read, "{tenant}");
    }
    assert_eq!(there.len(), 102);
}

#[tokio::test]
async fn a_spool_is_bounded_by_bytes_and_by_age() {
    let mut server = server().await;
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = as_text(folder.path());
    let output = publish_without_broker(&server, folder.path(), &["--spool-limit", "4KiB"]);
    assert_code(&output, 5);
    assert!(
        stderr(&output).contains("the spool is full: "),
        "{}",
        stderr(&output)
    );
    let events = json(&spool(&["status", directory, "--json"]))["events"].clone();
    assert!((1..102).contains(&events.as_u64().unwrap()), "{events}");

    server.restart().await.unwrap();
    let flags = [
        "-s",
        &server.url(),
        "--subject",
        "e",
        "--spool",
        directory,
        "--spool-max-age",
        "1ms",
    ];
    assert_code(&run(&[&flags[..], &["/dev/null"]].concat()), 1);
    assert_eq!(there(&server).await.len(), 0);
    let status = json(&spool(&["status", directory, "--json"]));
    assert_eq!(
        (&status["events"], &status["dead_letters"]),
        (&0.into(), &events)
    );
    let dead = stdout(&spool(&["dead", directory]));
    assert!(dead.contains("and may wait 1ms"), "{dead}");

    let without = run(&["--subject", "e", "--spool-limit", "1MB", "/dev/null"]);
    assert_code(&without, 2);
}

fn event_of(tenant: &str, number: usize, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"/test","type":"t","data":{{"tenantId":"{tenant}","text":"{data}"}}}}"#
    )
}

/// The command said that the broker was unreachable, though it stored the events of other subjects.
#[tokio::test]
async fn full_spool_behind_a_failing_subject_has_an_end_of_its_own_and_a_place_to_resume() {
    let server = NatsServer::start().await.unwrap();
    let create = async |name: &str, subject: &str| {
        server.create_stream(name, &[subject]).await.unwrap();
    };
    create("GOOD", "events.good").await;
    let folder = tempfile::tempdir().unwrap();
    let (input, spool) = (folder.path().join("lines"), folder.path().join("spool"));
    let lines: Vec<String> = (0..60)
        .map(|number| event_of(["good", "bad"][number % 2], number, ""))
        .collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let url = server.url();
    let publish = |more: &[&str]| {
        let flags = ["-s", &url, "--subject", "events.{tenantId}", "--json"];
        let flags = [
            &flags[..],
            &["--id", "source-id", "--spool", as_text(&spool)],
        ];
        let output = run(&[&flags.concat(), more, &[as_text(&input)]].concat());
        println!("{}", stderr(&output));
        output
    };
    let output = publish(&["--spool-limit", "4KiB", "--max-outage", "1s"]);
    assert_code(&output, 5);
    assert!(stderr(&output).contains(": not sent: the spool is full: "));
    let summary = json(&output);
    assert_eq!(summary["exit_code"], 5);
    assert!(summary["stored"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["left_in_spool"].as_u64().unwrap() > 0, "{summary}");
    let from = summary["resume"]["line"].to_string();

    create("BAD", "events.bad").await;
    let output = publish(&["--spool-limit", "1MiB", "--from-line", &from]);
    assert_code(&output, 0);
    let jetstream = server.jetstream().await.unwrap();
    for (stream, remainder) in [("GOOD", 0), ("BAD", 1)] {
        let stored = nats_local::stored(&jetstream, stream).await.unwrap();
        let stored: Vec<_> = stored.into_iter().map(|m| m.payload).collect();
        let sent: Vec<_> = lines.iter().skip(remainder).step_by(2).cloned().collect();
        assert_eq!(stored, sent, "{stream}");
    }
}

#[tokio::test]
async fn event_larger_than_the_spool_fails_alone() {
    let mut server = server().await;
    let url = server.url();
    server.kill().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    let (input, rejected, directory) = (path("lines"), path("rejected"), path("spool"));
    let large = event_of("acme", 1, &"x".repeat(5_000));
    let lines = [event(0), large.clone(), event(2)];
    std::fs::write(&input, lines.join("\n")).unwrap();
    let output = run(&[
        "-s",
        &url,
        "--subject",
        "events.{tenantId}",
        "--spool",
        as_text(&directory),
        "--spool-limit",
        "4KiB",
        "--max-outage",
        "0",
        "--rejected",
        as_text(&rejected),
        "--json",
        as_text(&input),
    ]);
    assert_code(&output, 1);
    let text = stderr(&output);
    assert!(
        text.contains("bytes in the spool, which has room for 4096"),
        "{text}"
    );
    let summary = json(&output);
    let counts = ["failed", "not_reached", "spooled", "left_in_spool"];
    let counts = counts.map(|count| summary[count].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 2, 2], "{summary}");
    assert_eq!(std::fs::read_to_string(&rejected).unwrap(), large + "\n");
    assert_eq!(summary["resume"], serde_json::Value::Null);
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    let mut windows = bytes.windows(needle.len());
    windows.position(|window| window == needle).unwrap()
}
