//! The arguments of `jetsink serve`, checked and resolved.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use jetsink::{
    ConnectError, ConnectSettings, ContentMode, SinkSettings, SpoolSettings, TenantPolicy,
};
use jetsink_serve::{
    Access, AccessError, GatewayError, GatewayLimit, GatewaySettings, MaxBytes, Route,
    ServerSettings, TlsSettings,
};

use super::arguments::{Mode, Policy, Serve};
use crate::connection::resolve_connection;
use crate::failure::Failure;
use crate::spool::folder::check_folder;

/// The settings of the gateway's parts; listeners stay with the arguments.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) connect: ConnectSettings,
    pub(crate) sink: SinkSettings,
    pub(crate) spool: Option<SpoolSettings>,
    pub(crate) routes: Vec<Route>,
    pub(crate) access: Access,
    pub(crate) gateway: GatewaySettings,
    pub(crate) server: ServerSettings,
    pub(crate) tls: Option<TlsSettings>,
}

impl Settings {
    pub(crate) fn resolve(
        arguments: &Serve,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let connect = resolve_connection(&arguments.connection, &environment)
            .map_err(|error| wrong_connection(arguments, error))?;
        let mut connect = connect.name("jetsink serve");
        if let Some(stream) = &arguments.stream {
            connect = arguments.valid("stream", connect.expected_stream(stream.as_str()))?;
        }
        let access = arguments.valid("access", access(arguments))?;
        let deadline = sink_deadline(arguments.deadline);
        Ok(Self {
            connect: connect.start_disconnected(true),
            sink: arguments.valid("deadline", SinkSettings::default().deadline(deadline))?,
            spool: spool(arguments, environment)?,
            routes: routes(arguments)?,
            gateway: gateway(arguments, access.clone())?,
            access,
            server: server(arguments)?,
            tls: tls(arguments)?,
        })
    }
}

/// The error of a connection's setting, with the place of its value if it is known.
pub(crate) fn wrong_connection(arguments: &Serve, error: ConnectError) -> Failure {
    let connection = &arguments.connection;
    let files = [
        ("creds", &connection.creds),
        ("nkey", &connection.nkey),
        ("tlscert", &connection.tlscert),
        ("tlskey", &connection.tlskey),
        ("tlsca", &connection.tlsca),
    ];
    let key = match &error {
        ConnectError::Server { .. } => connection.server.as_ref().map(|_| "server"),
        ConnectError::File { path, .. } => {
            let is_it = |value: &Option<String>| value.as_deref().map(Path::new) == Some(path);
            let file = files.iter().find(|(_, value)| is_it(value));
            file.map(|(key, _)| *key)
        }
        _ => None,
    };
    match key {
        Some(key) => arguments.wrong(key, &error),
        None => error.into(),
    }
}

/// The sink's own result should come before the gateway's deadline.
pub(crate) fn sink_deadline(deadline: Duration) -> Duration {
    deadline - deadline / 8
}

fn tls(arguments: &Serve) -> Result<Option<TlsSettings>, Failure> {
    let Serve {
        https_cert,
        https_key,
        https_client_ca,
        ..
    } = arguments;
    let incomplete = |key| Err(arguments.wrong(key, &"HTTPS needs --https-cert and --https-key"));
    match (https_cert, https_key, https_client_ca) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), authorities) => {
            let loaded = TlsSettings::load(certificate, key, authorities.clone());
            let tls = loaded.map_err(|error| {
                let key = match &error.path {
                    path if path == certificate => "https-cert",
                    path if path == key => "https-key",
                    _ => "https-client-ca",
                };
                arguments.wrong(key, &error)
            })?;
            Ok(Some(tls))
        }
        (Some(_), None, _) => incomplete("https-cert"),
        (None, Some(_), _) => incomplete("https-key"),
        (None, None, Some(_)) => incomplete("https-client-ca"),
    }
}

fn spool(
    arguments: &Serve,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<SpoolSettings>, Failure> {
    let Some(folder) = &arguments.spool else {
        let given = [
            ("spool-limit", arguments.spool_limit.is_some()),
            ("spool-max-age", arguments.spool_max_age.is_some()),
            ("spool-wait", !arguments.spool_wait.is_zero()),
        ];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(arguments.wrong(key, &"it needs the folder of a spool: --spool")),
            None => Ok(None),
        };
    };
    arguments.valid("spool", check_folder(folder, environment))?;
    let mut spool = SpoolSettings::new(folder);
    if let Some(limit) = arguments.spool_limit {
        spool = arguments.valid("spool-limit", spool.limit_bytes(limit))?;
    }
    if let Some(age) = arguments.spool_max_age {
        spool = arguments.valid("spool-max-age", spool.max_age(age))?;
    }
    Ok(Some(spool))
}

fn routes(arguments: &Serve) -> Result<Vec<Route>, Failure> {
    let mut routes = Vec::new();
    if let Some(subject) = &arguments.subject {
        let subject = arguments.valid("subject", subject.parse())?;
        routes.push(arguments.valid("subject", Route::new("/", subject))?);
    }
    for route in &arguments.route {
        let (path, template) = route.split_once('=').ok_or_else(|| {
            let reason = format!("{route:?}: write it like /orders=shop.orders");
            arguments.wrong("route", &reason)
        })?;
        let template = template.parse().map_err(|error: jetsink::SubjectError| {
            arguments.wrong("route", &format!("{path}: {error}"))
        })?;
        routes.push(arguments.valid("route", Route::new(path, template))?);
    }
    if routes.is_empty() {
        let text = "no subject for events: give --subject or --route, or one of them in --config";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(routes)
}

fn access(arguments: &Serve) -> Result<Access, AccessError> {
    Ok(match &arguments.access {
        None => Access::anonymous(),
        Some(path) => Access::from_file(path)?.allow_anonymous(arguments.allow_anonymous),
    })
}

fn gateway(arguments: &Serve, access: Access) -> Result<GatewaySettings, Failure> {
    let wrong = |error| wrong_limit(arguments, &error);
    let limits = &arguments.limits;
    let gateway = GatewaySettings::default()
        .tenant_policy(match arguments.tenant_policy {
            Policy::Refuse => TenantPolicy::Refuse,
            Policy::Encode => TenantPolicy::Encode,
        })
        .access(access)
        .hosts(arguments.allow_host.clone())
        .deadline(arguments.deadline)
        .and_then(|gateway| {
            gateway.max_bytes(MaxBytes {
                body: bytes(limits.max_body),
                decompressed: bytes(limits.max_decompressed),
                in_flight: bytes(limits.max_bytes),
            })
        })
        .and_then(|gateway| gateway.body_time(limits.body_time))
        .and_then(|gateway| gateway.max_batch(limits.max_batch))
        .and_then(|gateway| gateway.max_requests(limits.max_requests))
        .and_then(|gateway| gateway.identities(limits.identities, IDENTITY_WINDOW))
        .map_err(wrong)?;
    let one_in = arguments.access_log.and_then(NonZeroU32::new);
    let gateway = match one_in {
        None => gateway,
        Some(one_in) => gateway.access_log(one_in),
    };
    Ok(match arguments.mode {
        Mode::AsReceived => gateway,
        Mode::Structured => gateway.mode(ContentMode::Structured),
        Mode::Binary => gateway.mode(ContentMode::Binary),
    })
}

/// The error of a limit, with the place of its value.
fn wrong_limit(arguments: &Serve, error: &GatewayError) -> Failure {
    let key = match error {
        GatewayError::Range { limit, .. } => match limit {
            GatewayLimit::Deadline => "deadline",
            GatewayLimit::Body => "max-body",
            GatewayLimit::Decompressed => "max-decompressed",
            GatewayLimit::InFlight => "max-bytes",
            GatewayLimit::BodyTime => "body-time",
            GatewayLimit::Batch => "max-batch",
            GatewayLimit::Requests => "max-requests",
            GatewayLimit::HeaderBytes => "max-headers",
            GatewayLimit::HeaderTime => "header-time",
            _ => "identities",
        },
        _ => "route",
    };
    arguments.wrong(key, error)
}

/// The time for which identities are remembered, as the docs promise it.
const IDENTITY_WINDOW: Duration = Duration::from_secs(600);

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn server(arguments: &Serve) -> Result<ServerSettings, Failure> {
    let limits = &arguments.limits;
    let server = ServerSettings::default()
        .max_header_bytes(bytes(limits.max_headers))
        .and_then(|server| server.header_time(limits.header_time))
        .map_err(|error| wrong_limit(arguments, &error))?;
    Ok(server
        .allow_plaintext(arguments.allow_plaintext)
        .allow_anonymous(arguments.allow_anonymous))
}
