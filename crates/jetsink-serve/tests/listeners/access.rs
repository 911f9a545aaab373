//! Credentials: their subjects, tenants and places.

use std::time::Duration;

use jetsink_serve::{Access, Gateway, GatewaySettings, NewToken, Reloader, Route, ServerSettings};
use tokio::time::{Instant, sleep};

use crate::common::*;
use crate::support::*;

#[tokio::test]
async fn tokens_bound_subjects_and_tenants_and_a_changed_file_takes_effect() {
    let broker = broker().await;
    let acme = NewToken::random().unwrap();
    let any = NewToken::random().unwrap();
    let subjects = ["events.>".to_owned()];
    let text = acme.entry("acme", &subjects, &["acme".to_owned()])
        + &any.entry("any", &["events.single".to_owned()], &[]);
    let file = access_file(&text);
    let access = Access::from_file(file.path()).unwrap();
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access.clone())).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let post = async |token: &NewToken, id: &str, rest: &str| {
        let authorization = bearer(token);
        running
            .post(
                &[STRUCTURED, ("authorization", &authorization)],
                event(id, rest),
            )
            .await
    };
    assert_eq!(
        running.post(&[STRUCTURED], event("1", "")).await.problem(),
        "unauthenticated"
    );
    let unknown = NewToken::random().unwrap();
    assert_eq!(
        post(&unknown, "1", "").await.header("www-authenticate"),
        "Bearer"
    );
    assert_eq!(post(&acme, "1", "").await.status, 202);
    assert_eq!(
        post(&acme, "2", r#","data":{"tenantId":"other"}"#)
            .await
            .problem(),
        "forbidden"
    );
    assert_eq!(
        post(&any, "3", r#","data":{"tenantId":"other"}"#)
            .await
            .problem(),
        "forbidden"
    );
    assert_eq!(post(&any, "4", "").await.status, 202);
    assert_eq!(
        post(&any, "5", r#","data_base64":"aGk=""#).await.problem(),
        "event-refused"
    );
    let stored = messages(&broker).await;
    let subjects: Vec<&str> = stored
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(subjects, ["events.acme", "events.single"]);

    let reloader = Reloader::new(access, None);
    let watching = tokio::spawn(async move { reloader.watch().await });
    sleep(Duration::from_millis(50)).await;
    std::fs::write(
        file.path(),
        any.entry("any", &["events.single".to_owned()], &[]),
    )
    .unwrap();
    let started = Instant::now();
    while post(&acme, "6", "").await.status != 401 {
        assert!(
            started.elapsed() < PATIENCE,
            "the removed token is still accepted"
        );
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(post(&any, "7", "").await.status, 202);
    watching.abort();
}

// A reviewer's finding: a change between the first reading and the start of the watch was never seen.
#[tokio::test]
async fn change_before_the_watch_begins_takes_effect() {
    let broker = broker().await;
    let (old, new) = (NewToken::random().unwrap(), NewToken::random().unwrap());
    let entry = |token: &NewToken| token.entry("one", &[">".to_owned()], &[]);
    let file = access_file(&entry(&old));
    let access = Access::from_file(file.path()).unwrap();
    std::fs::write(file.path(), entry(&new)).unwrap();
    let reloader = Reloader::new(access.clone(), None);
    let watching = tokio::spawn(async move { reloader.watch().await });
    let gateway = gateway_of(&broker, GatewaySettings::default().access(access)).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let authorization = bearer(&new);
    let headers = [STRUCTURED, ("authorization", authorization.as_str())];
    let started = Instant::now();
    while running.post(&headers, event("1", "")).await.status != 202 {
        assert!(
            started.elapsed() < PATIENCE,
            "the new token is not accepted"
        );
        sleep(Duration::from_millis(50)).await;
    }
    watching.abort();
}

// A reviewer's finding: an event without a tenant was stored at events.shared by a credential without the tenant shared.
#[tokio::test]
async fn default_of_a_routes_tenant_is_checked_as_a_tenant_is() {
    let broker = broker().await;
    let (single, shared) = (NewToken::random().unwrap(), NewToken::random().unwrap());
    let all = [">".to_owned()];
    let tenants = |first: &str| [first.to_owned(), "b".to_owned()];
    let text = single.entry("single", &all, &tenants("single"))
        + &shared.entry("shared", &all, &tenants("shared"));
    let file = access_file(&text);
    let settings = GatewaySettings::default().access(Access::from_file(file.path()).unwrap());
    let routes = [
        ("/", "events.{tenantId|shared}"),
        ("/plain", "events.plain"),
    ];
    let routes = routes.map(|(path, subject)| Route::new(path, subject.parse().unwrap()).unwrap());
    let sink = sink(&broker, None).await;
    let gateway = Gateway::new(sink, routes.to_vec(), settings).unwrap();
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    for (token, path, rest, status) in [
        (&single, "/", "", 403),
        (&shared, "/", "", 202),
        (&shared, "/", r#","data":{"tenantId":"single"}"#, 403),
        (&single, "/plain", "", 202),
        (&single, "/plain", r#","data_base64":"aGk=""#, 202),
    ] {
        let authorization = bearer(token);
        let headers = [STRUCTURED, ("authorization", authorization.as_str())];
        let body = event(&format!("{status}{path}{rest}").replace('"', ""), rest);
        let reply = running.send("POST", path, &headers, body).await;
        assert_eq!(reply.status, status, "{path} {rest}");
    }
    let stored = messages(&broker).await;
    let subjects: Vec<&str> = stored
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(subjects, ["events.shared", "events.plain", "events.plain"]);
}

// A reviewer's finding: senders without a credential took all places, and those with a token got 429.
#[tokio::test]
async fn senders_without_a_credential_leave_half_of_the_places_to_others() {
    let broker = broker().await;
    let token = NewToken::random().unwrap();
    let file = access_file(&token.entry("one", &[">".to_owned()], &[]));
    let access = Access::from_file(file.path())
        .unwrap()
        .allow_anonymous(true);
    let settings = GatewaySettings::default()
        .access(access)
        .max_requests(4)
        .unwrap();
    let gateway = gateway_of(&broker, settings).await;
    let running = serving(gateway, tcp(None).await, ServerSettings::default());
    let slow = [
        in_flight(running.address).await,
        in_flight(running.address).await,
    ];
    let refused = running.post(&[STRUCTURED], event("1", "")).await;
    assert_eq!(refused.problem(), "too-many-requests");
    let authorization = bearer(&token);
    let headers = [STRUCTURED, ("authorization", authorization.as_str())];
    assert_eq!(running.post(&headers, event("1", "")).await.status, 202);
    drop(slow);
}
