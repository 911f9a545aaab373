//! How a server is to run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::NatsServer;
use crate::{NatsLocalError, ReservedPort, TlsFiles, nats_server_binary};

/// The settings of a [`NatsServer`]. Default: JetStream, no login, no TLS.
#[derive(Debug, Clone, Default)]
pub struct NatsServerBuilder {
    binary: Option<PathBuf>,
    without_jetstream: bool,
    max_payload: Option<usize>,
    login: Option<(String, String)>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) tls_first: bool,
    pub(crate) config: String,
}

impl NatsServerBuilder {
    /// Runs this program instead of the one that [`nats_server_binary`] finds.
    #[must_use]
    pub fn binary(mut self, path: PathBuf) -> Self {
        self.binary = Some(path);
        self
    }

    /// Disables JetStream.
    #[must_use]
    pub fn without_jetstream(mut self) -> Self {
        self.without_jetstream = true;
        self
    }

    /// Sets the largest message, headers included, in bytes.
    #[must_use]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Accepts this user only.
    #[must_use]
    pub fn user_and_password(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Requires TLS, with these files.
    #[must_use]
    pub fn tls(mut self, files: &TlsFiles) -> Self {
        self.tls = Some(files.clone());
        self
    }

    /// Starts with the TLS handshake, and greets the client after it (`handshake_first`).
    #[must_use]
    pub fn tls_first(mut self) -> Self {
        self.tls_first = true;
        self
    }

    /// Adds lines to the server's configuration file.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// [`NatsLocalError`] if there is no binary, or if the server does not answer within 20 s.
    pub async fn start(self) -> Result<NatsServer, NatsLocalError> {
        let mut server = self.prepare()?;
        server.restart().await?;
        Ok(server)
    }

    /// With a name, a folder and a port, and not started.
    pub(crate) fn prepare(self) -> Result<NatsServer, NatsLocalError> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let server = NatsServer {
            binary: match &self.binary {
                Some(binary) => binary.clone(),
                None => nats_server_binary()?,
            },
            name: format!("local-{}-{number}", std::process::id()),
            port: ReservedPort::new()?,
            process: None,
            settings: self,
            folder: tempfile::tempdir().map_err(NatsLocalError::io("creating a folder"))?,
        };
        server.write_config()?;
        Ok(server)
    }

    pub(crate) fn login(&self) -> Option<(&str, &str)> {
        let (user, password) = self.login.as_ref()?;
        Some((user, password))
    }

    /// The server's configuration file.
    pub(crate) fn text(&self, name: &str, port: u16, store: &Path) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = writeln!(text, "listen: \"127.0.0.1:{port}\"\nserver_name: {name:?}");
        if !self.without_jetstream {
            // By default the server's limit is the free space of the disk, and it refuses a stream that
            // may grow larger: the results of tests would then depend on the machine's disk.
            let _ = writeln!(
                text,
                "jetstream {{ store_dir: {store:?}, max_file_store: 1TB, max_memory_store: 16GB }}"
            );
        }
        if let Some(bytes) = self.max_payload {
            let _ = writeln!(text, "max_payload: {bytes}");
        }
        if let Some((user, password)) = &self.login {
            let _ = writeln!(
                text,
                "authorization {{ user: {user:?}, password: {password:?} }}"
            );
        }
        if let Some(files) = &self.tls {
            let _ = writeln!(
                text,
                "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: {}, \
                 handshake_first: {} }}",
                files.server_certificate,
                files.server_key,
                files.root,
                files.verify_clients,
                self.tls_first
            );
        }
        text.push_str(&self.config);
        text
    }
}
