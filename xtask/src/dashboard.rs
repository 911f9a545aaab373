//! A picture of the dashboard: a drill, watched by a real Prometheus, and its queries plotted. (Grafana
//! itself is in no registry that this project's machines reach.)

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nats_local::NatsServer;
use tokio::time::sleep;

use crate::alerts::prometheus;
use crate::checks::{jetsink_command, target};
use crate::{cargo, plot, root, succeed};

/// Ends with what started it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn picture(output: &Path) -> Result<(), String> {
    let folder = target().join("dashboard");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let jetsink = jetsink_command()?;
    succeed(&mut cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--package",
        "jetsink",
        "--example",
        "service",
    ]))?;
    let mut server = NatsServer::start().await.map_err(|e| e.to_string())?;
    let created = server.create_stream("EVENTS", &["events.>"]).await;
    created.map_err(|e| e.to_string())?;

    let ports = [free_port()?, free_port()?, free_port()?, free_port()?];
    let [plain, spooling, publishing, asked] = ports.map(|port| format!("127.0.0.1:{port}"));
    let debug = target().join("debug");
    let service = |subject: &str, metrics: &str, spool: &[&str]| {
        let mut command = Command::new(debug.join("examples/service"));
        let url = server.url();
        command
            .args([url.as_str(), subject, "100", metrics])
            .args(spool);
        start(&mut command, &folder)
    };
    let spool = folder.join("spool").display().to_string();
    let _plain = service("events.plain", &plain, &[])?;
    let _spooling = service("events.spooled", &spooling, &[&spool])?;
    let events = folder.join("events.jsonl");
    let _writer = tokio::spawn(write(events.clone()));
    let mut publish = Command::new(&jetsink);
    publish
        .args([
            "publish",
            "--follow",
            "--quiet",
            "--subject",
            "{type}.all",
            "-s",
        ])
        .arg(server.url())
        .args(["--spool".as_ref(), folder.join("other-spool").as_os_str()])
        .args(["--metrics-listen", &publishing])
        .arg(&events);
    let _publish = start(&mut publish, &folder)?;

    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: jetsink\n  static_configs:\n  \
         - targets: ['{plain}', '{spooling}', '{publishing}']\n"
    );
    let settings = folder.join("prometheus.yml");
    fs::write(&settings, config).map_err(|e| format!("{}: {e}", settings.display()))?;
    let mut prometheus = Command::new(prometheus("prometheus")?);
    prometheus
        .arg(format!("--config.file={}", settings.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={asked}"));
    let _prometheus = start(&mut prometheus, &folder)?;

    let began = now();
    println!("all is well for 30 s");
    sleep(Duration::from_secs(30)).await;
    println!("the broker is killed for 30 s");
    server.kill().map_err(|e| e.to_string())?;
    sleep(Duration::from_secs(30)).await;
    server.start_again().await.map_err(|e| e.to_string())?;
    sleep(Duration::from_secs(30)).await;
    println!("the broker is frozen for 20 s");
    server.freeze().map_err(|e| e.to_string())?;
    sleep(Duration::from_secs(20)).await;
    server.thaw().map_err(|e| e.to_string())?;
    sleep(Duration::from_secs(40)).await;

    let (began, ended) = (began.to_string(), now().to_string());
    let deploy = root().join("deploy/grafana");
    succeed(
        plot::python()?
            .arg(deploy.join("picture.py"))
            .arg(deploy.join("jetsink.json"))
            .args([&format!("http://{asked}"), &began, &ended])
            .arg(output),
    )?;
    println!("{}", output.display());
    Ok(())
}

/// 50 events a second to a file; from a minute on, each tenth to a subject that no stream captures.
async fn write(path: std::path::PathBuf) {
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let Ok(mut file) = file else { return };
    for number in 0_u64.. {
        let kind = if number > 3_000 && number.is_multiple_of(10) {
            "nowhere"
        } else {
            "events"
        };
        let written = writeln!(
            file,
            r#"{{"specversion":"1.0","id":"{number}","source":"/writer","type":"{kind}"}}"#
        );
        if written.is_err() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn start(command: &mut Command, folder: &Path) -> Result<Process, String> {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let log = folder.join(name).with_extension("log");
    let log = File::options().append(true).create(true).open(&log);
    let log = log.map_err(|e| format!("a log: {e}"))?;
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
        .spawn()
        .map(Process)
        .map_err(|e| format!("{shown}: {e}"))
}

fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|l| l.local_addr());
    address
        .map(|a| a.port())
        .map_err(|e| format!("a port: {e}"))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
