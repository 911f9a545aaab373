//! A gateway on loopback before a real broker, and a plain client.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jetsink::{ConnectSettings, NatsPublisher, Publisher as _, Sink, SinkSettings, SpoolSettings};
use jetsink_serve::{Gateway, GatewaySettings, Listener, Route, Server, ServerSettings};
use nats_local::{NatsServer, StoredMessage, stored};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub type NatsGateway = Gateway<NatsPublisher>;

pub const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
pub const BATCHED: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

pub async fn broker() -> NatsServer {
    let server = NatsServer::start().await.unwrap();
    server.create_stream("EVENTS", &["events.>"]).await.unwrap();
    server
}

pub async fn sink(broker: &NatsServer, spool: Option<&Path>) -> Arc<Sink<NatsPublisher>> {
    sink_of(&broker.url(), spool).await
}

pub async fn sink_of(urls: &str, spool: Option<&Path>) -> Arc<Sink<NatsPublisher>> {
    sink_with(urls, spool.map(SpoolSettings::new)).await
}

pub async fn sink_with(urls: &str, spool: Option<SpoolSettings>) -> Arc<Sink<NatsPublisher>> {
    let connect = ConnectSettings::new(urls).unwrap().start_disconnected(true);
    let publisher = NatsPublisher::connect(connect).await.unwrap();
    let mut connection = publisher.connection().unwrap();
    let _ = tokio::time::timeout(
        Duration::from_secs(5),
        connection.wait_for(|connection| connection.up),
    )
    .await;
    let settings = SinkSettings::default();
    Arc::new(match spool {
        None => Sink::new(publisher, settings),
        Some(spool) => Sink::with_spool(publisher, settings, spool).await.unwrap(),
    })
}

/// A gateway that accepts requests until it is stopped.
pub struct Running {
    pub gateway: NatsGateway,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<bool>,
}

/// A gateway with the default settings over a sink that has no spool.
pub async fn without_spool(broker: &NatsServer, template: &str) -> Running {
    running(
        sink(broker, None).await,
        template,
        GatewaySettings::default(),
    )
    .await
}

pub async fn running(
    sink: Arc<Sink<NatsPublisher>>,
    template: &str,
    settings: GatewaySettings,
) -> Running {
    let route = Route::new("/", template.parse().unwrap()).unwrap();
    let gateway = Gateway::new(sink, vec![route], settings).unwrap();
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), None)
        .await
        .unwrap();
    serving(gateway, listener, ServerSettings::default())
}

pub fn serving(gateway: NatsGateway, listener: Listener, settings: ServerSettings) -> Running {
    let address = listener
        .address()
        .unwrap_or_else(|| "127.0.0.1:1".parse().unwrap());
    let server = Server::new(&gateway, vec![listener], settings).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn({
        let gateway = gateway.clone();
        async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server
                .serve(&gateway, stopped, Duration::from_secs(10))
                .await
        }
    });
    Running {
        gateway,
        address,
        stop,
        serving,
    }
}

impl Running {
    /// Stops accepting. Returns whether all requests ended.
    pub async fn stop(self) -> bool {
        let _ = self.stop.send(());
        self.serving.await.unwrap()
    }

    pub async fn post(&self, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.send("POST", "/", headers, body).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        exchange(&mut stream, method, path, headers, body.as_ref()).await
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The name of the problem.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["status"], self.status);
        json["title"].as_str().unwrap().to_owned()
    }
}

pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    // A server that refuses the request closes before all of it is written.
    let _ = stream.write_all(&request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    parse(&answer)
}

pub fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(answer)));
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    });
    Reply {
        status,
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    }
}

pub fn event(id: &str, rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"{rest}}}"#)
}

pub async fn messages(broker: &NatsServer) -> Vec<StoredMessage> {
    stored(&broker.jetstream().await.unwrap(), "EVENTS")
        .await
        .unwrap()
}

pub fn header<'m>(message: &'m StoredMessage, name: &str) -> Option<&'m str> {
    message.headers.get(name).map(|value| value.as_str())
}
