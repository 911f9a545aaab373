//! One real nats-server process and its faults.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::{NatsLocalError, NatsServerBuilder, ReservedPort};

/// The time in which a server must end by itself.
const TIME_TO_END: Duration = Duration::from_secs(60);

/// The time in which a server must answer.
const TIME_TO_START: Duration = Duration::from_secs(20);

/// A server process on 127.0.0.1 with its store in a temporary folder. It keeps its port and files over
/// restarts. Dropping it kills the process and removes the folder. If this process is killed, the server
/// ends within a second.
#[derive(Debug)]
pub struct NatsServer {
    pub(crate) binary: PathBuf,
    pub(crate) name: String,
    pub(crate) port: ReservedPort,
    pub(crate) process: Option<Running>,
    pub(crate) settings: NatsServerBuilder,
    pub(crate) folder: TempDir,
}

/// The server, and a watchdog that outlives us just long enough to end it: its standard input closes
/// when this process is gone.
#[derive(Debug)]
pub(crate) struct Running {
    server: Child,
    watchdog: Child,
    frozen: AtomicBool,
}

impl NatsServer {
    /// Starts a server with JetStream and no login, and waits until it answers.
    ///
    /// # Errors
    /// As [`NatsServerBuilder::start`].
    pub async fn start() -> Result<Self, NatsLocalError> {
        Self::builder().start().await
    }

    /// Returns the settings of a server to start.
    #[must_use]
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder::default()
    }

    /// Returns the URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.settings.tls.is_some() {
            "tls"
        } else {
            "nats"
        };
        format!("{scheme}://{}", self.port.address())
    }

    /// Returns the name of the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, also while the server is down.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the process id while the server runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|running| running.server.id())
    }

    /// Returns the log of all runs so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// Kills the server (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server does not run.
    pub fn kill(&mut self) -> Result<(), NatsLocalError> {
        self.end(Signal::SIGKILL)
    }

    /// Asks the server to shut down (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server does not run.
    pub fn stop(&mut self) -> Result<(), NatsLocalError> {
        self.end(Signal::SIGTERM)
    }

    /// Suspends the server (SIGSTOP): connections stay open, and nothing is answered after the return.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server does not run.
    pub fn freeze(&self) -> Result<(), NatsLocalError> {
        self.signal(Signal::SIGSTOP)?;
        match &self.process {
            // The system reports each stop once: a second wait would last for ever.
            Some(running) if !running.frozen.swap(true, Ordering::Relaxed) => running.await_stop(),
            _ => Ok(()),
        }
    }

    /// Resumes the server after [`freeze`](Self::freeze) (SIGCONT).
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server does not run.
    pub fn thaw(&self) -> Result<(), NatsLocalError> {
        self.signal(Signal::SIGCONT)?;
        if let Some(running) = &self.process {
            running.frozen.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Kills the server and starts it again after `time`.
    ///
    /// # Errors
    /// As [`kill`](Self::kill) and [`restart`](Self::restart).
    pub async fn kill_for(&mut self, time: Duration) -> Result<(), NatsLocalError> {
        self.kill()?;
        tokio::time::sleep(time).await;
        self.restart().await
    }

    /// Freezes the server and thaws it after `time`.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze) and [`thaw`](Self::thaw).
    pub async fn freeze_for(&self, time: Duration) -> Result<(), NatsLocalError> {
        self.freeze()?;
        tokio::time::sleep(time).await;
        self.thaw()
    }

    /// Starts lame duck mode: the server asks its clients to leave, then shuts down.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server does not run.
    pub fn lame_duck(&self) -> Result<(), NatsLocalError> {
        self.signal(Signal::SIGUSR2)
    }

    /// Waits until the server has ended by itself, as after [`lame_duck`](Self::lame_duck).
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server does not run, or if it runs for another minute.
    pub async fn wait_for_exit(&mut self) -> Result<(), NatsLocalError> {
        let give_up = Instant::now() + TIME_TO_END;
        loop {
            if Instant::now() > give_up {
                return Err(NatsLocalError::NotReady {
                    reason: "it does not end".to_owned(),
                    log_end: self.log_end(),
                });
            }
            let Some(running) = &mut self.process else {
                return Err(not_running());
            };
            let ended = running.server.try_wait();
            if ended
                .map_err(NatsLocalError::io("waiting for nats-server to end"))?
                .is_some()
            {
                running.dismiss_watchdog();
                self.process = None;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the server after [`kill`](Self::kill) or [`stop`](Self::stop) with the same port and files, and
    /// waits until it answers.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the server runs already, or if it does not answer within 20 s.
    pub async fn restart(&mut self) -> Result<(), NatsLocalError> {
        self.launch()?;
        self.wait_until_ready().await
    }

    /// Waits until the server answers, after [`launch`](Self::launch).
    ///
    /// # Errors
    /// [`NatsLocalError::NotReady`] if the server ended, or if it does not answer within 20 s.
    pub async fn wait_until_ready(&mut self) -> Result<(), NatsLocalError> {
        let give_up = Instant::now() + TIME_TO_START;
        loop {
            if self.answers().await {
                return Ok(());
            }
            let ended = match &mut self.process {
                Some(running) => running.server.try_wait().ok().flatten().is_some(),
                None => true,
            };
            if ended || Instant::now() > give_up {
                let reason = if ended {
                    "it ended"
                } else {
                    "it does not answer"
                };
                let _ = self.kill();
                return Err(NatsLocalError::NotReady {
                    reason: reason.to_owned(),
                    log_end: self.log_end(),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Replaces the lines of [`config`](NatsServerBuilder::config). They apply from the next start on.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the file cannot be written.
    pub fn reconfigure(&mut self, lines: &str) -> Result<(), NatsLocalError> {
        self.settings.config = format!("{lines}\n");
        self.write_config()
    }

    /// Launches the process without waiting for it.
    ///
    /// # Errors
    /// [`NatsLocalError`] if the program cannot be run.
    pub fn launch(&mut self) -> Result<(), NatsLocalError> {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("server.log"))
            .map_err(NatsLocalError::io("opening the log"))?;
        let server = Command::new(&self.binary)
            .arg("--config")
            .arg(self.path("server.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C at a terminal is for us, who end it when its time has come.
            .process_group(0)
            .spawn()
            .map_err(NatsLocalError::io("running nats-server"))?;
        let watchdog = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\" 2>/dev/null"])
            .arg(server.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(NatsLocalError::io("running the watchdog"))?;
        self.process = Some(Running {
            server,
            watchdog,
            frozen: AtomicBool::new(false),
        });
        Ok(())
    }

    /// Connects a client with the login and certificates of the settings.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`].
    pub async fn client(&self) -> Result<async_nats::Client, NatsLocalError> {
        let mut options = async_nats::ConnectOptions::new();
        if let Some((user, password)) = self.settings.login() {
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }
        if let Some(files) = &self.settings.tls {
            options = options
                .add_root_certificates(files.root.clone())
                .add_client_certificate(files.client_certificate.clone(), files.client_key.clone());
        }
        options
            .connect(self.url())
            .await
            .map_err(NatsLocalError::broker("connecting to the local server"))
    }

    /// Returns JetStream over a new client.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub async fn jetstream(&self) -> Result<jetstream::Context, NatsLocalError> {
        Ok(jetstream::new(self.client().await?))
    }

    /// Creates a stream in files with the server's defaults.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`].
    pub async fn create_stream(&self, name: &str, subjects: &[&str]) -> Result<(), NatsLocalError> {
        self.create_stream_with(jetstream::stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
            ..jetstream::stream::Config::default()
        })
        .await
    }

    /// Creates a stream.
    ///
    /// # Errors
    /// [`NatsLocalError::Broker`].
    pub async fn create_stream_with(
        &self,
        config: jetstream::stream::Config,
    ) -> Result<(), NatsLocalError> {
        create_stream(&self.jetstream().await?, config).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_config(&self) -> Result<(), NatsLocalError> {
        let store = self.path("store");
        let config = self.settings.text(&self.name, self.port.number(), &store);
        std::fs::write(self.path("server.conf"), config)
            .map_err(NatsLocalError::io("writing the configuration"))
    }

    /// Whether the process at our port is ours, and greets. A server greets once its streams are
    /// recovered.
    async fn answers(&self) -> bool {
        let greeting = async {
            let stream = TcpStream::connect(self.port.address()).await.ok()?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await.ok()?;
            Some(line)
        };
        if self.settings.tls_first {
            let connected = TcpStream::connect(self.port.address()).await;
            return connected.is_ok() && self.log().contains("Server is ready");
        }
        let greeting = tokio::time::timeout(Duration::from_secs(1), greeting).await;
        let name = format!("\"server_name\":\"{}\"", self.name);
        greeting
            .ok()
            .flatten()
            .is_some_and(|line| line.contains(&name))
    }

    fn end(&mut self, signal: Signal) -> Result<(), NatsLocalError> {
        self.signal(signal)?;
        if let Some(mut running) = self.process.take() {
            let ended = running.server.wait();
            running.dismiss_watchdog();
            ended.map_err(NatsLocalError::io("waiting for nats-server to end"))?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), NatsLocalError> {
        let Some(running) = &self.process else {
            return Err(not_running());
        };
        kill(running.pid(), signal).map_err(|errno| running.failed(&errno.to_string()))
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Returns the folder of the server, for tests that read its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Running {
    /// Never 0, which would mean our own process group.
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.server.id()).unwrap_or(i32::MAX))
    }

    fn failed(&self, reason: &str) -> NatsLocalError {
        NatsLocalError::Signal {
            pid: self.pid().as_raw(),
            reason: reason.to_owned(),
        }
    }

    /// `kill` returns when the signal is queued; on a busy machine the server goes on answering until
    /// the last of its threads has taken notice.
    fn await_stop(&self) -> Result<(), NatsLocalError> {
        match waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Stopped(..)) => Ok(()),
            Ok(_) => Err(self.failed("it ended")),
            Err(errno) => Err(self.failed(&errno.to_string())),
        }
    }

    /// Runs before its pipe closes: otherwise it would kill a later process with the server's number.
    fn dismiss_watchdog(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn not_running() -> NatsLocalError {
    NatsLocalError::Signal {
        pid: 0,
        reason: "it does not run".to_owned(),
    }
}

pub(crate) async fn create_stream(
    jetstream: &jetstream::Context,
    config: jetstream::stream::Config,
) -> Result<(), NatsLocalError> {
    let what = format!("creating stream {}", config.name);
    let created = jetstream.create_stream(config).await;
    created.map(drop).map_err(NatsLocalError::broker(what))
}
