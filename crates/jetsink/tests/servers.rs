//! Finds a reachable server: whichever others are dark, and servers that join the cluster later.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::time::Duration;

use jetsink::{ConnectSettings, NatsPublisher, Publisher as _};
use nats_local::{NatsServer, NatsServerBuilder, ReservedPort, TcpProxy, TlsFiles};
use tokio::time::{Instant, sleep, timeout};

/// Less than the connect timeout of one dark server.
const BEFORE_A_TIMEOUT: Duration = Duration::from_secs(4);

const PATIENCE: Duration = Duration::from_secs(30);

/// Proxies that accept connections and pass no byte.
async fn dark(count: usize) -> Vec<TcpProxy> {
    let mut proxies = Vec::new();
    for _ in 0..count {
        let proxy = TcpProxy::to(1).await.unwrap();
        proxy.cut();
        proxies.push(proxy);
    }
    proxies
}

fn urls<'a>(ports: impl Iterator<Item = u16> + 'a) -> String {
    let urls: Vec<String> = ports.map(|p| format!("nats://127.0.0.1:{p}")).collect();
    urls.join(",")
}

async fn await_up(publisher: &NatsPublisher, patience: Duration) -> bool {
    let mut connection = publisher.connection().unwrap();
    let up = connection.wait_for(|connection| connection.up);
    timeout(patience, up).await.is_ok()
}

async fn await_down(publisher: &NatsPublisher) {
    let mut connection = publisher.connection().unwrap();
    let down = connection.wait_for(|connection| !connection.up);
    timeout(PATIENCE, down).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dark_servers_delay_neither_the_first_connection_nor_the_return() {
    let mut server = NatsServer::start().await.unwrap();
    let dark = dark(6).await;
    let ports = dark.iter().map(TcpProxy::port).chain([server.port()]);
    let settings = ConnectSettings::new(&urls(ports)).unwrap();
    let started = Instant::now();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    assert!(
        started.elapsed() < BEFORE_A_TIMEOUT,
        "{:?}",
        started.elapsed()
    );
    for _ in 0..2 {
        server.kill_for(Duration::from_secs(2)).await.unwrap();
        let back = Instant::now();
        assert!(await_up(&publisher, PATIENCE).await);
        assert!(back.elapsed() < BEFORE_A_TIMEOUT, "{:?}", back.elapsed());
        println!("back after {:?}", back.elapsed());
    }
}

/// A member of a cluster.
async fn member(
    builder: NatsServerBuilder,
    port: &ReservedPort,
    routes: &[&ReservedPort],
) -> NatsServer {
    let routes: Vec<String> = routes
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{}\"", port.number()))
        .collect();
    let config = format!(
        "cluster {{ name: local, listen: \"127.0.0.1:{}\", routes: [{}] }}",
        port.number(),
        routes.join(", ")
    );
    builder.config(&config).start().await.unwrap()
}

fn core() -> NatsServerBuilder {
    NatsServer::builder().without_jetstream()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_joins_later_is_found_unless_discovery_is_off() {
    let ports = [(); 2].map(|()| ReservedPort::new().unwrap());
    let mut first = member(core(), &ports[0], &[]).await;
    let settings = ConnectSettings::new(&first.url()).unwrap();
    let follows = NatsPublisher::connect(settings.clone()).await.unwrap();
    let ignores = settings.ignore_discovered_servers(true);
    let ignores = NatsPublisher::connect(ignores).await.unwrap();
    let second = member(core(), &ports[1], &[&ports[0]]).await;
    // Two looks at the list.
    sleep(Duration::from_secs(7)).await;
    first.kill().unwrap();
    await_down(&follows).await;
    assert!(await_up(&follows, PATIENCE).await);
    assert!(second.pid().is_some());
    assert!(!await_up(&ignores, Duration::from_secs(1)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_of_a_discovered_server_is_verified_by_the_listed_name() {
    // The certificates have no IP address, and the servers report only addresses.
    let files = TlsFiles::generate_for(&["localhost"], None, false).unwrap();
    let ports = [(); 2].map(|()| ReservedPort::new().unwrap());
    let tls = || core().tls(&files);
    let mut first = member(tls(), &ports[0], &[]).await;
    let second = member(tls(), &ports[1], &[&ports[0]]).await;
    let connect = |host: &str| {
        let url = format!("tls://{host}:{}", first.port());
        let settings = ConnectSettings::new(&url).unwrap();
        NatsPublisher::connect(settings.root_certificates(&files.root))
    };
    assert!(connect("127.0.0.1").await.is_err(), "the name is verified");
    // Until the servers know each other.
    sleep(Duration::from_secs(1)).await;
    let publisher = connect("localhost").await.unwrap();
    first.kill().unwrap();
    await_down(&publisher).await;
    assert!(await_up(&publisher, PATIENCE).await);
    assert!(second.pid().is_some());
}

#[tokio::test]
async fn connection_that_ends_at_once_is_retried_with_growing_waits() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = NatsServer::start().await.unwrap();
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&accepted);
    let target = server.port();
    let _ends_all = tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                let far = tokio::net::TcpStream::connect(("127.0.0.1", target)).await;
                let mut far = far.unwrap();
                let pass = tokio::io::copy_bidirectional(&mut near, &mut far);
                let _ = timeout(Duration::from_millis(60), pass).await;
            });
        }
    });
    let settings = ConnectSettings::new(&urls([port].into_iter())).unwrap();
    let publisher = NatsPublisher::connect(settings).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    let connections = accepted.load(std::sync::atomic::Ordering::Relaxed);
    assert!((3..25).contains(&connections), "{connections}");
    drop(publisher);
}
