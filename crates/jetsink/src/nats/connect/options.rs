//! The client's options for a server, and the error of a connection that failed with them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use async_nats::ConnectOptions;

use super::error::{NO_ANSWER, cause, file_error, reason};
use super::jwt::expired_at;
use super::{ConnectCause, ConnectError, ConnectSettings, Login, Target, tls};
use crate::nats::tls_provider::select_tls_provider;
use crate::publisher::window::MAX_WINDOW;

/// The client's queue: twice the widest window, so that a pipeline never waits for it and keeps its order.
const CLIENT_QUEUE: usize = 2 * MAX_WINDOW;

impl ConnectSettings {
    /// The options for one server.
    pub(crate) async fn options_for(
        &self,
        target: &Target,
        server_requires_tls: bool,
    ) -> Result<ConnectOptions, ConnectError> {
        let options = self.options().await?;
        let uses_tls = server_requires_tls || self.uses_tls() || target.address.tls_required();
        if target.names.is_empty() || !uses_tls {
            return Ok(options);
        }
        let config = tls::client_config(self, &target.names).await?;
        Ok(options.tls_client_config(config))
    }

    pub(crate) async fn options(&self) -> Result<ConnectOptions, ConnectError> {
        // The client's own choice is a panic if the program contains several providers.
        select_tls_provider();
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(self.connect_timeout)
            .ping_interval(self.ping_interval)
            .client_capacity(CLIENT_QUEUE)
            // One attempt tries each server once, without waits.
            .reconnect_delay_callback(|_| Duration::ZERO);
        options = match &self.login {
            Login::None => options,
            Login::UserPassword(user, password) => {
                options.user_and_password(user.clone(), password.clone())
            }
            Login::Token(token) => options.token(token.clone()),
            Login::NkeySeed(seed) => options.nkey(seed.clone()),
            Login::CredentialsFile(path) => {
                const WHAT: &str = "credentials file";
                check_file(WHAT, path).await?;
                // The library's own text may quote the file.
                let invalid = "it holds no JWT and seed, as `nsc generate creds` writes them";
                options
                    .credentials_file(path)
                    .await
                    .map_err(|_| file_error(WHAT, path, &invalid))?
            }
        };
        if let Some(path) = &self.root_certificates {
            check_file("root certificates", path).await?;
            options = options
                .add_root_certificates(path.clone())
                .require_tls(true);
        }
        if let Some((certificate, key)) = &self.client_certificate {
            check_file("client certificate", certificate).await?;
            check_file("client key", key).await?;
            options = options
                .add_client_certificate(certificate.clone(), key.clone())
                .require_tls(true);
        }
        if self.root_certificates.is_some() || self.client_certificate.is_some() {
            tls::check_files(self).await?;
        }
        if self.tls_first {
            options = options.tls_first();
        }
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        Ok(options)
    }

    pub(crate) fn timed_out(&self) -> ConnectError {
        self.refused(ConnectCause::TimedOut, NO_ANSWER.to_owned())
    }

    pub(crate) async fn failed(&self, error: &async_nats::ConnectError) -> ConnectError {
        let (cause, mut reason) = (cause(error), reason(error));
        if cause == ConnectCause::LoginRefused
            && let Login::CredentialsFile(path) = &self.login
            && let Some(expired) = expired_at(path, SystemTime::now()).await
        {
            let path = path.display();
            reason = format!("{reason}: the JWT in {path} expired at {expired}; create a new one");
        }
        self.refused(cause, reason)
    }

    pub(crate) fn inbox_failed(&self, error: &async_nats::SubscribeError) -> ConnectError {
        let reason = format!("no inbox for acknowledgements: {error}");
        self.refused(ConnectCause::Other, reason)
    }

    pub(super) fn refused(&self, cause: ConnectCause, reason: String) -> ConnectError {
        ConnectError::Refused {
            servers: self.server_list(),
            cause,
            reason,
        }
    }

    fn uses_tls(&self) -> bool {
        self.tls_first || self.root_certificates.is_some() || self.client_certificate.is_some()
    }
}

async fn check_file(what: &'static str, path: &Path) -> Result<(), ConnectError> {
    tokio::fs::File::open(path)
        .await
        .map(drop)
        .map_err(|error| file_error(what, path, &error))
}
