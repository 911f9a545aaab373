//! The arguments of `jetsink publish`, checked and resolved.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use glob::MatchOptions;
use jetsink::{
    Binding, ConnectSettings, ContentMode, MessageIdRule, SinkSettings, SpoolSettings,
    SubjectTemplate, TenantPolicy, Validation, WindowSize,
};

use super::arguments::{
    Format, IdRule, Mode, OnBadLine, OnBrokenChain, Policy, Publish, StartAt, TtlFrom,
};
use crate::connection::{When, resolve_connection};
use crate::failure::Failure;
use crate::spool::folder::{check_folder, is_same_folder};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) binding: Binding,
    pub(crate) connect: ConnectSettings,
    pub(crate) sink: SinkSettings,
    /// `None`: the window adapts.
    pub(crate) window: Option<WindowSize>,
    pub(crate) max_outage: Duration,
    pub(crate) spool: Option<SpoolSettings>,
    pub(crate) max_failures: u64,
    pub(crate) stop_at_bad_line: bool,
    /// Reports in full per minute and kind: bad lines, failed events, unread files.
    pub(crate) show: u64,
    pub(crate) rejected: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) on_broken_chain: OnBrokenChain,
    pub(crate) from_line: u64,
    pub(crate) follow: bool,
    pub(crate) rotate_wait: Duration,
    pub(crate) start_at_end: bool,
    pub(crate) position: Option<PathBuf>,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) show_progress: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) metrics_listen: Option<SocketAddr>,
}

impl Settings {
    pub(crate) fn resolve(
        arguments: Publish,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        if arguments.follow && arguments.format == Format::Json {
            let reason =
                "--format json reads its input to the end; --follow takes one event per line";
            return Err(Failure::Usage(reason.to_owned()));
        }
        let is_trail = arguments.format == Format::CellosAuditTrail;
        if is_trail && arguments.id != IdRule::Emit {
            let reason = "--format cellos-audit-trail derives message ids from the subject and the hash of each row; leave --id out";
            return Err(Failure::Usage(reason.to_owned()));
        }
        if !is_trail && arguments.on_broken_chain != OnBrokenChain::Stop {
            let reason =
                "--on-broken-chain is for --format cellos-audit-trail; other files have no chain";
            return Err(Failure::Usage(reason.to_owned()));
        }
        if is_trail
            && let Some(spool) = &arguments.spool
            && let Some(file) = arguments.files.iter().find(|file| is_in(file, spool))
        {
            return Err(Failure::Usage(format!(
                "--spool: {} is the folder of the audit trail {}, which belongs to CellOS; use another folder",
                spool.display(),
                file.display()
            )));
        }
        if let Some(spool) = &arguments.spool {
            check_folder(spool, &environment)
                .map_err(|error| Failure::Usage(format!("--spool: {error}")))?;
        }
        let mut connect =
            resolve_connection(&arguments.connection, environment)?.name("jetsink publish");
        if let Some(stream) = &arguments.stream {
            connect = connect.expected_stream(stream.as_str())?;
        }
        let binding = Binding::new(SubjectTemplate::new(arguments.subject)?)
            .message_id(match arguments.id {
                IdRule::Emit => MessageIdRule::PerEmit,
                IdRule::SourceId => MessageIdRule::SourceAndId,
                IdRule::Content => MessageIdRule::Content,
            })
            .mode(match arguments.mode {
                Mode::Structured => ContentMode::Structured,
                Mode::Binary => ContentMode::Binary,
            })
            .reads_expirytime(arguments.ttl_from == Some(TtlFrom::Expirytime))
            .tenant_policy(match arguments.tenant_policy {
                Policy::Refuse => TenantPolicy::Refuse,
                Policy::Encode => TenantPolicy::Encode,
            })
            .validation(if arguments.lenient {
                Validation::Lenient
            } else {
                Validation::Full
            });
        let show_progress = match arguments.progress {
            When::Auto if arguments.dry_run => false,
            _ if arguments.quiet => false,
            when => when.applies(),
        };
        let spool = match arguments.spool {
            None => None,
            Some(directory) => {
                let mut spool = SpoolSettings::new(directory)
                    .when_unconfirmed(arguments.when_unconfirmed.into());
                if let Some(limit) = arguments.spool_limit {
                    spool = spool.limit_bytes(limit)?;
                }
                if let Some(age) = arguments.spool_max_age {
                    spool = spool.max_age(age)?;
                }
                Some(spool)
            }
        };
        let mut files = arguments.files;
        if files.is_empty() {
            files.push(PathBuf::from("-"));
        }
        Ok(Self {
            files,
            binding,
            connect,
            sink: SinkSettings::default().deadline(arguments.deadline)?,
            window: arguments
                .window
                .and_then(|window| WindowSize::new(window.into())),
            max_outage: arguments.max_outage,
            spool,
            max_failures: arguments.max_failures,
            stop_at_bad_line: arguments.on_bad_line == OnBadLine::Fail,
            show: arguments.show,
            rejected: arguments.rejected,
            format: arguments.format,
            on_broken_chain: arguments.on_broken_chain,
            from_line: arguments.from_line,
            follow: arguments.follow,
            rotate_wait: arguments.rotate_wait,
            start_at_end: arguments.start_at == StartAt::End,
            position: arguments.position,
            dry_run: arguments.dry_run,
            json: arguments.json,
            show_progress,
            quiet: arguments.quiet,
            verbose: arguments.verbose,
            metrics_listen: arguments.metrics_listen,
        })
    }
}

/// Whether a file is in this folder, also by a link or a pattern, or is the folder. Neither needs to exist.
fn is_in(file: &Path, folder: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (file, folder) = (absolute(file), absolute(folder));
    let target = file.canonicalize().unwrap_or_else(|_| file.clone());
    [&file, &target]
        .into_iter()
        .flat_map(|path| [Some(path.as_path()), path.parent()])
        .flatten()
        .any(|path| is_same_folder(path, &folder))
        || file.parent().is_some_and(|above| is_one_of(above, &folder))
}

/// Whether a folder is one of those that a pattern names, now or later.
fn is_one_of(pattern: &Path, folder: &Path) -> bool {
    let Some(Ok(parsed)) = pattern.to_str().map(glob::Pattern::new) else {
        return false;
    };
    let in_each_folder = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    let found = glob::glob(parsed.as_str()).into_iter().flatten().flatten();
    parsed.matches_path_with(folder, in_each_folder)
        || found
            .into_iter()
            .any(|found| is_same_folder(&found, folder))
}
