//! Connect settings from the environment variables and contexts of the `nats` command.
//!
//! The caller passes the environment as a function, so that a command line can take precedence over the
//! process's variables.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConnectError, ConnectSettings, DEFAULT_SERVER};

/// The connection settings of a `nats` context file. Empty texts count as absent: the `nats` command writes
/// them for unset fields.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    tls_first: bool,
    inbox_prefix: String,
    jetstream_domain: String,
    // Not supported: an error names them instead of ignoring them.
    user_jwt: String,
    nsc: String,
    socks_proxy: String,
    jetstream_api_prefix: String,
    windows_cert_store: String,
}

impl Context {
    /// Returns the first setting that is not supported, with the remedy.
    fn unsupported(&self) -> Option<(&'static str, &'static str)> {
        [
            ("user_jwt", &self.user_jwt, "a creds file"),
            ("nsc", &self.nsc, "a creds file, by `nsc generate creds`"),
            ("socks_proxy", &self.socks_proxy, "a direct route"),
            (
                "jetstream_api_prefix",
                &self.jetstream_api_prefix,
                "jetstream_domain",
            ),
            (
                "windows_cert_store",
                &self.windows_cert_store,
                "cert and key",
            ),
        ]
        .into_iter()
        .find_map(|(name, value, instead)| (!value.is_empty()).then_some((name, instead)))
    }
}

impl ConnectSettings {
    /// Settings from `servers` and the variables `NATS_URL`, `NATS_CONTEXT`, `NATS_CREDS`,
    /// `NATS_NKEY` (a file with a seed), `NATS_TOKEN`, `NATS_USER`, `NATS_PASSWORD`, `NATS_CA`,
    /// `NATS_CERT` and `NATS_KEY`, which `lookup` answers. Empty answers count as none.
    ///
    /// Servers: those given, else `NATS_URL`, else the context's, else [`DEFAULT_SERVER`](Self::DEFAULT_SERVER). Login: by
    /// variables, else the context's, else the one in the URL. `NATS_USER` without `NATS_PASSWORD`
    /// is a token. A context is `$XDG_CONFIG_HOME/nats/context/NAME.json`, by default under
    /// `~/.config`, as `nats context add` writes it.
    ///
    /// ```
    /// use jetsink::ConnectSettings;
    ///
    /// let settings = ConnectSettings::from_environment(None, |name| match name {
    ///     "NATS_URL" => Some("nats://127.0.0.1:4333".to_owned()),
    ///     _ => None,
    /// })?;
    /// assert!(format!("{settings:?}").contains(":4333"));
    /// # Ok::<(), jetsink::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`] for a bad URL, and for a context or seed file that can't be read; the file
    /// is named, its content never shown.
    pub fn from_environment(
        servers: Option<&str>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let context = match lookup("NATS_CONTEXT") {
            None => Context::default(),
            Some(name) => read_context(&name, lookup)?,
        };
        let from_environment = lookup("NATS_URL");
        let servers = servers
            .or(from_environment.as_deref())
            .or(some(&context.url))
            .unwrap_or(DEFAULT_SERVER);
        let mut settings = Self::new(servers)?;

        let user = lookup("NATS_USER");
        let password = lookup("NATS_PASSWORD");
        if let Some(path) = lookup("NATS_CREDS") {
            settings = settings.credentials_file(path);
        } else if let Some(path) = lookup("NATS_NKEY") {
            settings = settings.nkey_seed(&read_seed(Path::new(&path))?);
        } else if let Some(token) = lookup("NATS_TOKEN") {
            settings = settings.token(&token);
        } else if let Some(user) = user {
            settings = user_or_token(settings, &user, password.as_deref());
        } else if let Some(path) = some(&context.creds) {
            settings = settings.credentials_file(expand_home(path, lookup));
        } else if let Some(path) = some(&context.nkey) {
            settings = settings.nkey_seed(&read_seed(&expand_home(path, lookup))?);
        } else if let Some(token) = some(&context.token) {
            settings = settings.token(token);
        } else if let Some(user) = some(&context.user) {
            settings = user_or_token(settings, user, some(&context.password));
        }

        let path = |variable: &str, in_context: &str| {
            lookup(variable)
                .map(PathBuf::from)
                .or_else(|| some(in_context).map(|path| expand_home(path, lookup)))
        };
        if let Some(root) = path("NATS_CA", &context.ca) {
            settings = settings.root_certificates(root);
        }
        match (
            path("NATS_CERT", &context.cert),
            path("NATS_KEY", &context.key),
        ) {
            (Some(certificate), Some(key)) => {
                settings = settings.client_certificate(certificate, key);
            }
            (None, None) => {}
            (certificate, _) => {
                let missing = match certificate {
                    Some(_) => "its key is missing: NATS_KEY, --tlskey, or key in the context",
                    None => {
                        "it is missing, and its key is set: NATS_CERT, --tlscert, or cert in the context"
                    }
                };
                return Err(ConnectError::Setting {
                    what: "client certificate",
                    reason: missing.to_owned(),
                });
            }
        }
        if context.tls_first {
            settings = settings.tls_first(true);
        }
        if let Some(prefix) = some(&context.inbox_prefix) {
            settings = settings.inbox_prefix(prefix)?;
        }
        if let Some(domain) = some(&context.jetstream_domain) {
            settings = settings.jetstream_domain(domain)?;
        }
        Ok(settings)
    }

    /// Returns the context that `nats context select` has selected, if any. The `nats` command uses it if no other is
    /// named; [`from_environment`](Self::from_environment) does not: a service should not depend on a selection in a shell.
    ///
    /// ```no_run
    /// use jetsink::ConnectSettings;
    ///
    /// let variable = |name: &str| std::env::var(name).ok();
    /// println!("{:?}", ConnectSettings::selected_context(variable));
    /// ```
    #[must_use]
    pub fn selected_context(lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
        let text = std::fs::read_to_string(contexts_folder(lookup).join("context.txt")).ok()?;
        some(text.trim()).map(str::to_owned)
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn user_or_token(settings: ConnectSettings, user: &str, password: Option<&str>) -> ConnectSettings {
    match password {
        Some(password) => settings.user_and_password(user, password),
        None => settings.token(user),
    }
}

fn read_context(
    name: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Context, ConnectError> {
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(ConnectError::Setting {
            what: "context",
            reason: format!("{name:?} is no context's name"),
        });
    }
    let path = contexts_folder(lookup)
        .join("context")
        .join(format!("{name}.json"));
    let text = read("context", &path)?;
    let context: Context = serde_json::from_str(&text).map_err(|error| ConnectError::File {
        what: "context",
        reason: format!(
            "it is not JSON as `nats context add` writes it (line {}, column {})",
            error.line(),
            error.column()
        ),
        path: path.clone(),
    })?;
    match context.unsupported() {
        None => Ok(context),
        Some((setting, instead)) => Err(ConnectError::File {
            what: "context",
            reason: format!("its {setting} is not supported; use {instead}"),
            path,
        }),
    }
}

fn contexts_folder(lookup: impl Fn(&str) -> Option<String>) -> PathBuf {
    let config = match lookup("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => expand_home("~/.config", lookup),
    };
    config.join("nats")
}

/// The line of a seed file that is the seed.
fn read_seed(path: &Path) -> Result<String, ConnectError> {
    let text = read("NKey seed", path)?;
    let seed = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with('S'));
    seed.map(str::to_owned).ok_or_else(|| ConnectError::File {
        what: "NKey seed",
        path: path.to_owned(),
        reason: "it holds no line with a seed (SU…)".to_owned(),
    })
}

fn read(what: &'static str, path: &Path) -> Result<String, ConnectError> {
    std::fs::read_to_string(path).map_err(|error| ConnectError::File {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn expand_home(path: &str, lookup: impl Fn(&str) -> Option<String>) -> PathBuf {
    match (path.strip_prefix("~/"), lookup("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<String, ConnectError> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        ConnectSettings::from_environment(None, lookup).map(|settings| format!("{settings:?}"))
    }

    #[test]
    fn variables_win_over_the_context_and_empty_ones_count_as_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("nats/context")).unwrap();
        let file = folder.path().join("nats/context/prod.json");
        std::fs::write(&file, r#"{"url":"nats://ctx:1","user":"u","password":"hunter2","token":"","description":"x"}"#).unwrap();
        let home = folder.path().to_str().unwrap();
        let base = [("XDG_CONFIG_HOME", home), ("NATS_CONTEXT", "prod")];

        let from_context = settings(&base).unwrap();
        assert!(
            from_context.contains("nats://ctx:1") && from_context.contains("user and password"),
            "{from_context}"
        );
        assert!(!from_context.contains("hunter2"));

        let both = [
            base[0],
            base[1],
            ("NATS_URL", "nats://env:2"),
            ("NATS_USER", "token"),
            ("NATS_PASSWORD", ""),
        ];
        let from_both = settings(&both).unwrap();
        assert!(
            from_both.contains("nats://env:2") && from_both.contains("\"token\""),
            "{from_both}"
        );
        assert!(settings(&[]).unwrap().contains("127.0.0.1:4222"));
    }

    #[test]
    fn missing_or_broken_file_is_named_and_its_content_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("nats/context")).unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(
            folder.path().join("nats/context/bad.json"),
            r#"{"password":hunter2}"#,
        )
        .unwrap();
        std::fs::write(
            folder.path().join("nats/context/jwt.json"),
            r#"{"user_jwt":"hunter2"}"#,
        )
        .unwrap();
        let seed = folder.path().join("seed");
        std::fs::write(&seed, "hunter2").unwrap();
        let cases = [
            (
                vec![("XDG_CONFIG_HOME", home), ("NATS_CONTEXT", "none")],
                "none.json",
            ),
            (
                vec![("XDG_CONFIG_HOME", home), ("NATS_CONTEXT", "bad")],
                "bad.json",
            ),
            (
                vec![("XDG_CONFIG_HOME", home), ("NATS_CONTEXT", "jwt")],
                "jwt.json: its user_jwt is not supported; use a creds file",
            ),
            (vec![("NATS_CONTEXT", "../etc")], "no context's name"),
            (vec![("NATS_NKEY", "/no/such")], "/no/such"),
            (
                vec![("NATS_NKEY", seed.to_str().unwrap())],
                "no line with a seed",
            ),
            (
                vec![("NATS_CERT", "/c.pem")],
                "its key is missing: NATS_KEY",
            ),
            (vec![("NATS_KEY", "/k.pem")], "NATS_CERT, --tlscert"),
        ];
        for (variables, expected) in cases {
            let error = settings(&variables).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
