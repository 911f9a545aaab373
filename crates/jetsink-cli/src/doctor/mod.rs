//! `jetsink doctor`: checks servers, login, account, streams and a gateway before events are lost.

mod account;
pub(crate) mod arguments;
mod certificate;
mod clock;
mod diagnosis;
mod finding;
mod gateway;
mod look_up;
mod network;
mod payload;
mod stream;
mod subject;

use std::collections::BTreeSet;

use jetsink::{ConnectError, ConnectSettings, NatsPublisher, SubjectTemplate};

use crate::connection::{environment, resolve_connection};
use crate::failure::Failure;
use crate::output::{self, LogFrom, counted};
use crate::runtime::runtime;
use account::{Api, account, login_failed};
use arguments::Doctor;
use diagnosis::Diagnosis;
use finding::{ConnectionFinding, Finding, Level};
use network::{Address, Greeting};
use payload::payload_limit;
use stream::Expected;
use subject::Check;

pub(crate) fn run(arguments: &Doctor) -> Result<u8, Failure> {
    output::start_log(0, LogFrom::Error);
    let templates: Result<Vec<_>, _> = arguments
        .subjects
        .iter()
        .map(SubjectTemplate::new)
        .collect();
    let templates = templates?;
    let connect = resolve_connection(&arguments.connection, environment)?.name("jetsink doctor");
    let mut diagnosis = Diagnosis {
        json: arguments.json,
        problems: 0,
        warnings: 0,
    };
    runtime()?.block_on(async {
        if let Some(address) = &arguments.serve {
            diagnosis.extend(gateway::examine(address).await);
        }
        match templates.is_empty() {
            true => Ok(()),
            false => examine(arguments, &templates, connect, &mut diagnosis).await,
        }
    })?;
    if !arguments.json {
        output::print(&format!(
            "{}, {}",
            counted(diagnosis.problems, "problem"),
            counted(diagnosis.warnings, "warning")
        ));
    }
    Ok(u8::from(diagnosis.problems > 0))
}

async fn examine(
    arguments: &Doctor,
    templates: &[SubjectTemplate],
    connect: ConnectSettings,
    diagnosis: &mut Diagnosis,
) -> Result<(), Failure> {
    let mut greeting: Option<Greeting> = None;
    let mut named = false;
    for server in connect.addresses() {
        let address = Address {
            scheme: server.scheme,
            host: server.host,
            port: server.port,
            tls_first: connect.is_tls_first(),
        };
        let (found, greets) = network::look_at(&address).await;
        for finding in found.into_iter().map(Finding::from) {
            named |= finding.level == Level::Problem;
            diagnosis.add(finding);
        }
        greeting = greeting.or(greets);
    }
    let publisher = match NatsPublisher::connect(connect).await {
        Ok(publisher) => publisher,
        Err(ConnectError::Refused { cause, reason, .. }) => {
            diagnosis.extend(login_failed(cause, reason, named));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    diagnosis.add(ConnectionFinding::LoginAccepted);
    let mut checks = Vec::new();
    for template in templates {
        checks.push(Check::of(&publisher, template).await);
    }
    let imports = checks.iter().any(Check::reaches_a_stream);
    let choice = arguments.when_unconfirmed;
    let api = account(&publisher, imports, choice, diagnosis).await;
    if api == Api::Unusable || (api == Api::Missing && !imports) {
        return Ok(());
    }
    let max_payload = greeting.and_then(|greeting| greeting.max_payload);
    let expected = Expected {
        retention_floor: arguments.retention_floor,
        retry_span: arguments.retry_span,
        max_payload,
        when_unconfirmed: choice,
    };
    let mut examined = BTreeSet::new();
    for check in &checks {
        let problems = diagnosis.problems;
        if api == Api::Answers {
            check
                .examine_streams(&publisher, &expected, &mut examined, diagnosis)
                .await;
        }
        check.report(diagnosis.problems > problems, diagnosis);
    }
    if let Some(announced) = max_payload {
        diagnosis.extend(payload_limit(&publisher, announced).await);
    }
    Ok(())
}
