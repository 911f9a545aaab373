//! Lines in, messages out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::*;

#[tokio::test]
async fn the_sample_is_stored_once_in_order_byte_for_byte_from_file_and_pipe_at_any_window() {
    let sample = std::fs::read(SAMPLES).unwrap();
    let expected: Vec<Bytes> = sample
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(Bytes::copy_from_slice)
        .collect();
    assert_eq!(expected.len(), 102);
    for window in ["1", "16", "1024"] {
        for from_pipe in [false, true] {
            let server = server().await;
            let url = server.url();
            let flags = [
                "-s",
                &url,
                "--subject",
                "events.{tenantId}",
                "--window",
                window,
            ];
            let output = if from_pipe {
                with_input(&flags, &sample)
            } else {
                run(&[&flags[..], &[SAMPLES]].concat())
            };
            assert_code(&output, 0);
            assert!(
                stderr(&output)
                    .starts_with("102 of 102 events stored in EVENTS up to sequence 102;"),
                "{}",
                stderr(&output)
            );
            assert!(output.stdout.is_empty());
            let there = there(&server).await;
            assert!(findings(&expected, &there).is_clean());
            let subjects: std::collections::BTreeSet<_> =
                there.iter().map(|m| m.subject.as_str()).collect();
            assert_eq!(
                subjects.into_iter().collect::<Vec<_>>(),
                ["events.acme", "events.globex", "events.single"]
            );
        }
    }
}

#[tokio::test]
async fn a_line_through_a_pipe_goes_out_before_the_next_one_comes() {
    let server = server().await;
    let mut child = jetsink(&["-s", &server.url(), "--subject", "events.a"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for count in 1..=3 {
        writeln!(pipe, "{}", event(count)).unwrap();
        let started = Instant::now();
        while there(&server).await.len() < count {
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "line {count} waits for another"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn ids_by_source_and_id_make_a_second_run_all_duplicates() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let input = file_of(&folder, "in.jsonl", &lines(50));
    let url = server.url();
    let flags = [
        "-s",
        &url,
        "--subject",
        "events.a",
        "--id",
        "source-id",
        "--json",
        as_text(&input),
    ];
    assert_eq!(json(&run(&flags))["duplicates"], 0);
    let second = run(&flags);
    assert_code(&second, 0);
    assert_eq!(
        (&json(&second)["stored"], &json(&second)["duplicates"]),
        (&50.into(), &50.into())
    );
    assert_eq!(there(&server).await.len(), 50);
}

#[tokio::test]
async fn binary_mode_sends_attributes_as_headers_and_the_data_as_payload() {
    let server = server().await;
    let output = with_input(
        &[
            "-s",
            &server.url(),
            "--subject",
            "events.{type}",
            "--mode",
            "binary",
        ],
        event(7).as_bytes(),
    );
    assert_code(&output, 0);
    let there = there(&server).await;
    assert_eq!(&there[0].payload[..], br#"{"tenantId":"acme"}"#);
    let header = |name: &str| there[0].headers.get(name).map(ToString::to_string);
    assert_eq!(header("ce-id").as_deref(), Some("7"));
    assert_eq!(header("ce-specversion").as_deref(), Some("1.0"));
}

#[tokio::test]
async fn dry_run_checks_and_counts_without_a_connection() {
    let output = run(&[
        "-s",
        "nats://127.0.0.1:1",
        "--subject",
        "events.{tenantId}",
        "--dry-run",
        SAMPLES,
    ]);
    assert_code(&output, 0);
    let counts = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = counts
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().any(|row| row[1] == "events.acme"), "{counts}");
    assert_code(&with_input(&["--subject", "a", "--dry-run"], b"nope"), 1);
}

#[tokio::test]
async fn memory_stays_flat_whatever_the_size_of_the_file() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let mut peaks = Vec::new();
    for count in [10_000, 100_000] {
        let input = file_of(&folder, "in.jsonl", &lines(count));
        let mut child = jetsink(&[
            "-s",
            &server.url(),
            "--subject",
            "events.a",
            "--quiet",
            as_text(&input),
        ])
        .spawn()
        .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            if let Ok(file) = std::fs::File::open(&status) {
                let lines = BufReader::new(file).lines().map_while(Result::ok);
                let high = lines
                    .filter_map(|line| {
                        line.strip_prefix("VmHWM:")?
                            .trim()
                            .strip_suffix(" kB")?
                            .parse()
                            .ok()
                    })
                    .next();
                peak = peak.max(high.unwrap_or(0_u64));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(child.wait().unwrap().success());
        peaks.push(peak);
    }
    println!("peak resident memory in KiB for 10,000 and 100,000 lines: {peaks:?}");
    assert!(peaks[1] < peaks[0] + 16 * 1_024, "{peaks:?}");
}
