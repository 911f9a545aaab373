//! The arguments of `jetsink serve`, checked and resolved.

use std::num::NonZeroU32;
use std::time::Duration;

use jetsink::{ConnectSettings, ContentMode, SinkSettings, SpoolSettings, TenantPolicy};
use jetsink_serve::{Access, GatewaySettings, Route, ServerSettings, TlsSettings};

use super::arguments::{Limits, Mode, Policy, Serve};
use crate::connection::resolve_connection;
use crate::failure::Failure;

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
        let mut connect =
            resolve_connection(&arguments.connection, environment)?.name("jetsink serve");
        if let Some(stream) = &arguments.stream {
            connect = connect.expected_stream(stream.as_str())?;
        }
        let access = access(arguments)?;
        let tls = match (&arguments.https_cert, &arguments.https_key) {
            (Some(certificate), Some(key)) => Some(TlsSettings::load(
                certificate,
                key,
                arguments.https_client_ca.clone(),
            )?),
            (None, None) if arguments.https_client_ca.is_none() => None,
            _ => return Err(usage("HTTPS needs --https-cert and --https-key")),
        };
        Ok(Self {
            connect: connect.start_disconnected(),
            sink: SinkSettings::default().deadline(sink_deadline(arguments.deadline))?,
            spool: spool(arguments)?,
            routes: routes(arguments)?,
            gateway: gateway(arguments, access.clone())?,
            access,
            server: server(arguments)?,
            tls,
        })
    }
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}

/// The sink's own result should come before the gateway's deadline.
pub(crate) fn sink_deadline(deadline: Duration) -> Duration {
    deadline - deadline / 8
}

fn spool(arguments: &Serve) -> Result<Option<SpoolSettings>, Failure> {
    let Some(folder) = &arguments.spool else {
        let has_limits = arguments.spool_limit.is_some()
            || arguments.spool_max_age.is_some()
            || !arguments.spool_wait.is_zero();
        return match has_limits {
            true => Err(usage("limits of a spool need its folder: --spool")),
            false => Ok(None),
        };
    };
    let mut spool = SpoolSettings::new(folder);
    if let Some(limit) = arguments.spool_limit {
        spool = spool.limit_bytes(limit)?;
    }
    if let Some(age) = arguments.spool_max_age {
        spool = spool.max_age(age)?;
    }
    Ok(Some(spool))
}

fn routes(arguments: &Serve) -> Result<Vec<Route>, Failure> {
    let mut routes = Vec::new();
    if let Some(subject) = &arguments.subject {
        routes.push(Route::new("/", subject.parse()?)?);
    }
    for route in &arguments.route {
        let (path, template) = route.split_once('=').ok_or_else(|| {
            Failure::Usage(format!(
                "--route {route:?}: write it like /orders=shop.orders"
            ))
        })?;
        let template = template
            .parse()
            .map_err(|error| Failure::Usage(format!("--route {path}: {error}")))?;
        routes.push(Route::new(path, template)?);
    }
    if routes.is_empty() {
        let text = "no subject for events: give --subject or --route, or one of them in --config";
        return Err(usage(text));
    }
    Ok(routes)
}

fn access(arguments: &Serve) -> Result<Access, Failure> {
    Ok(match &arguments.access {
        None => Access::anonymous(),
        Some(path) if arguments.allow_anonymous => Access::from_file(path)?.allow_anonymous(),
        Some(path) => Access::from_file(path)?,
    })
}

fn gateway(arguments: &Serve, access: Access) -> Result<GatewaySettings, Failure> {
    let Limits {
        max_body,
        max_decompressed,
        max_bytes,
        max_batch,
        max_requests,
        body_time,
        identities,
        ..
    } = &arguments.limits;
    let gateway = GatewaySettings::default()
        .tenant_policy(match arguments.tenant_policy {
            Policy::Refuse => TenantPolicy::Refuse,
            Policy::Encode => TenantPolicy::Encode,
        })
        .access(access)
        .hosts(arguments.allow_host.clone())
        .deadline(arguments.deadline)?
        .max_bytes(
            bytes(*max_body),
            bytes(*max_decompressed),
            bytes(*max_bytes),
        )?
        .body_time(*body_time)?
        .max_batch(*max_batch)?
        .max_requests(*max_requests)?
        .identities(*identities, IDENTITY_WINDOW)?;
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

/// The time for which identities are remembered, as the docs promise it.
const IDENTITY_WINDOW: Duration = Duration::from_secs(600);

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn server(arguments: &Serve) -> Result<ServerSettings, Failure> {
    let limits = &arguments.limits;
    let mut server = ServerSettings::default()
        .max_connections(bytes(limits.max_connections.into()))
        .max_header_bytes(bytes(limits.max_headers))?
        .header_time(limits.header_time)?;
    if arguments.allow_plaintext {
        server = server.allow_plaintext();
    }
    if arguments.allow_anonymous {
        server = server.allow_anonymous();
    }
    Ok(server)
}
