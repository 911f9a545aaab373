use super::super::finding::{Finding, Level};
use super::*;

fn status(change: impl FnOnce(&mut Status)) -> Vec<(Level, &'static str)> {
    let mut status = Status {
        gateway: Gateway {
            version: "0.1.0".to_owned(),
            ready: true,
            readiness: "ready".to_owned(),
        },
        broker: Broker {
            version: Some("2.15.1".to_owned()),
            connect_error: None,
            circuit: "connected".to_owned(),
            since_seconds: 90,
            failed_probes: 0,
            last_failure: None,
            failing_subjects: Vec::new(),
            failing_subject_count: 0,
        },
        spool: Some(Spool {
            events: 0,
            oldest_seconds: None,
            used_bytes: 0,
            limit_bytes: 100,
            dead_letters: 0,
            damaged: 0,
        }),
        refusals: Vec::new(),
    };
    change(&mut status);
    let found = findings("localhost:9464", status);
    let found = found
        .into_iter()
        .map(Finding::from)
        .filter(|finding| finding.level != Level::Ok);
    found.map(|finding| (finding.level, finding.code)).collect()
}

fn spool(change: fn(&mut Spool)) -> Vec<(Level, &'static str)> {
    status(|status| change(status.spool.as_mut().unwrap()))
}

#[test]
fn each_state_has_its_finding() {
    let warning = |code| vec![(Level::Warning, code)];
    let problem = |code| vec![(Level::Problem, code)];
    assert_eq!(status(|_| {}), []);
    assert_eq!(
        status(|status| status.gateway.ready = false),
        problem("gateway.not-ready")
    );
    let idle = |status: &mut Status| status.broker.circuit = "reconnecting".to_owned();
    assert_eq!(status(idle), []);
    let refused = |status: &mut Status| {
        idle(status);
        status.broker.failed_probes = 1;
    };
    assert_eq!(status(refused), warning("gateway.circuit"));
    let away = |status: &mut Status| {
        idle(status);
        status.broker.version = None;
    };
    assert_eq!(status(away), warning("gateway.circuit"));
    let refused_login = |status: &mut Status| {
        status.broker.version = None;
        status.broker.connect_error = Some("the broker refuses this login".to_owned());
    };
    assert_eq!(status(refused_login), warning("gateway.circuit"));
    let without_spool = status(|status| {
        away(status);
        status.spool = None;
    });
    let expected = [
        (Level::Problem, "gateway.circuit"),
        (Level::Warning, "gateway.no-spool"),
    ];
    assert_eq!(without_spool, expected);
    assert_eq!(
        status(|status| status.broker.failing_subject_count = 1),
        warning("gateway.subjects")
    );
    assert_eq!(
        spool(|spool| spool.used_bytes = 71),
        warning("gateway.spool-filling")
    );
    assert_eq!(spool(|spool| spool.used_bytes = 70), []);
    assert_eq!(
        spool(|spool| spool.damaged = 1),
        problem("gateway.spool-damaged")
    );
    assert_eq!(
        spool(|spool| spool.dead_letters = 1),
        warning("gateway.dead-letters")
    );
    let refused = |problem: &str| {
        status(|status| {
            status.refusals.push(Refusals {
                problem: problem.to_owned(),
                count: 2,
                detail: "…".to_owned(),
            });
        })
    };
    assert_eq!(refused("identity-conflict"), warning("gateway.refusals"));
    assert_eq!(refused("a later problem"), []);
    // Each refusal that a sender or an operator has to correct.
    #[cfg(unix)]
    for kind in jetsink_serve::ProblemKind::ALL {
        let expected =
            match !kind.is_passing() || *kind == jetsink_serve::ProblemKind::TooManyRequests {
                true => warning("gateway.refusals"),
                false => Vec::new(),
            };
        assert_eq!(refused(kind.name()), expected, "{kind:?}");
    }
}

#[test]
fn address_is_one_of_http() {
    let address = |text| parse_address(text).map(|address| address.authority);
    assert_eq!(
        address("http://localhost:9464").as_deref(),
        Ok("localhost:9464")
    );
    assert_eq!(
        address("http://[::1]:9464/status").as_deref(),
        Ok("[::1]:9464")
    );
    assert_eq!(address("http://gateway").as_deref(), Ok("gateway:80"));
    for wrong in [
        "",
        "localhost:9464",
        "https://localhost",
        "http://me@localhost",
        "/x",
        "nats://n:1",
    ] {
        assert!(parse_address(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn gateway_whose_spool_is_not_open_is_starting_and_another_server_is_foreign() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for (status, code) in [
        ("503 Service Unavailable", "gateway.starting"),
        ("404 Not Found", "gateway.foreign"),
        ("200 OK", "gateway.foreign"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let server = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let _ = client.read(&mut request).await.unwrap();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
            client.write_all(answer.as_bytes()).await.unwrap();
        };
        let address = GatewayAddress { authority };
        let (findings, ()) = tokio::join!(examine(&address), server);
        let codes: Vec<_> = findings
            .into_iter()
            .map(|finding| Finding::from(finding).code)
            .collect();
        assert_eq!(codes, [code], "{status}");
    }
}
