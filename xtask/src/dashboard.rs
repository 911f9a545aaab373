//! A picture of the dashboard: a drill, watched by a real Prometheus, and the dashboard's queries plotted. (No
//! registry that this project uses has Grafana.)

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use nats_local::{NatsServer, ReservedPort};
use tokio::time::sleep;

use crate::alerts::prometheus;
use crate::plot;
use crate::process::{Guarded, cargo, jetsink_command, root, succeed, target};

/// # Errors
/// A program can't be built or fetched, or fails.
pub(crate) async fn picture(output: &Path) -> Result<()> {
    let folder = target().join("dashboard");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let jetsink = jetsink_command()?;
    let mut example = cargo(&["build", "--quiet", "--locked", "--package", "jetsink"]);
    succeed(example.args(["--example", "service"]))?;
    let mut server = NatsServer::start().await?;
    server
        .create_stream("EVENTS", &["events.>", "lines.events"])
        .await?;

    let (plain, spooling) = (ReservedPort::new()?, ReservedPort::new()?);
    let (events, serving) = (ReservedPort::new()?, ReservedPort::new()?);
    let (publishing, monitor) = (ReservedPort::new()?, ReservedPort::new()?);
    let service = |subject: &str, metrics: &ReservedPort, spool: &[&str]| {
        let mut command = Command::new(target().join("debug/examples/service"));
        command.args([&server.url(), subject, "100"]);
        command.arg(metrics.address().to_string()).args(spool);
        start(&mut command, &folder)
    };
    let spool = folder.join("spool").display().to_string();
    let _plain = service("events.plain", &plain, &[])?;
    let _spooling = service("events.spooled", &spooling, &[&spool])?;
    let lines = folder.join("events.jsonl");
    let _writer = tokio::spawn(write(lines.clone()));
    let mut publish = Command::new(&jetsink);
    publish
        .args(["publish", "--follow", "--quiet"])
        .args(["--subject", "lines.{type}", "--server", &server.url()])
        .args(["--spool".as_ref(), folder.join("other-spool").as_os_str()])
        .args(["--metrics-listen", &publishing.address().to_string()])
        .arg(&lines);
    let mut publish = start(&mut publish, &folder)?;

    let mut serve = Command::new(&jetsink);
    serve
        .args([
            "serve",
            "--subject",
            "events.served",
            "--server",
            &server.url(),
        ])
        .args(["--spool".as_ref(), folder.join("served-spool").as_os_str()])
        .args(["--listen", &events.address().to_string()])
        .args(["--admin-listen", &serving.address().to_string()]);
    let mut serve = start(&mut serve, &folder)?;
    let mut load = Command::new("python3");
    load.arg(root().join("tests/gateway/load.py"))
        .arg(events.address().to_string());
    let _load = start(&mut load, &folder)?;

    let targets =
        [&plain, &spooling, &publishing, &serving].map(|port| format!("'{}'", port.address()));
    let settings = folder.join("prometheus.yml");
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: jetsink\n  static_configs:\n  \
         - targets: [{}]\n",
        targets.join(", ")
    );
    fs::write(&settings, config)?;
    let address = monitor.address();
    let mut prometheus = Command::new(prometheus("prometheus")?);
    prometheus
        .arg(format!("--config.file={}", settings.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"));
    let _prometheus = start(&mut prometheus, &folder)?;

    let began = seconds_since_1970();
    drill(&mut server).await?;
    ensure!(
        publish.0.try_wait()?.is_none() && serve.0.try_wait()?.is_none(),
        "a process has ended; see its log in {}",
        folder.display()
    );
    let ended = seconds_since_1970();
    let grafana = root().join("deploy/grafana");
    succeed(
        plot::python()?
            .arg(grafana.join("picture.py"))
            .arg(grafana.join("jetsink.json"))
            .arg(format!("http://{address}"))
            .args([began.to_string(), ended.to_string()])
            .arg(output),
    )?;
    println!("{}", output.display());
    Ok(())
}

async fn drill(server: &mut NatsServer) -> Result<()> {
    println!("the broker is well for 30 s");
    sleep(Duration::from_secs(30)).await;
    println!("the broker is killed for 30 s");
    server.kill_for(Duration::from_secs(30)).await?;
    sleep(Duration::from_secs(30)).await;
    println!("the broker is frozen for 20 s");
    server.freeze_for(Duration::from_secs(20)).await?;
    sleep(Duration::from_secs(40)).await;
    Ok(())
}

/// Writes 50 events a second to a file; after a minute, every tenth one has a subject that no stream captures.
async fn write(path: PathBuf) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)?;
    for number in 0_u64.. {
        let kind = if number > 3_000 && number.is_multiple_of(10) {
            "nowhere"
        } else {
            "events"
        };
        writeln!(
            file,
            r#"{{"specversion":"1.0","id":"{number}","source":"/writer","type":"{kind}"}}"#
        )?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Starts a program that ends with the returned value; its messages go to a file in `folder`.
fn start(command: &mut Command, folder: &Path) -> Result<Guarded> {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or_default();
    let log = folder.join(name).with_extension("log");
    let log = fs::OpenOptions::new().append(true).create(true).open(log)?;
    let shown = program.display().to_string();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.into_file());
    Ok(Guarded(command.spawn().context(shown)?))
}

fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
