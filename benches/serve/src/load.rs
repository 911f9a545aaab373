//! The load: connections that post one event after another.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Bytes of one event.
const EVENT: usize = 580;

fn request(series: u64, connection: usize, number: u64) -> String {
    let start = format!(
        r#"{{"specversion":"1.0","id":"{series}-{connection}-{number}","source":"/load","type":"com.example.load","data":{{"x":""#
    );
    let padding = "x".repeat(EVENT - start.len() - 3);
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {EVENT}\r\n\r\n{start}{padding}\"}}}}"
    )
}

/// Reads one answer without a body, and returns whether it is 202.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    loop {
        let length = stream.read_buf(buffer).await.unwrap();
        assert_ne!(length, 0, "the connection ended");
        if buffer.ends_with(b"\r\n\r\n") {
            return buffer.starts_with(b"HTTP/1.1 202");
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 202"),
            "{}",
            String::from_utf8_lossy(buffer)
        );
    }
}

/// Loads a server for a time. Returns the number of answers.
pub(crate) async fn run(address: &str, connections: usize, time: Duration, series: u64) -> u64 {
    let end = Instant::now() + time;
    let mut clients = JoinSet::new();
    for connection in 0..connections {
        let address = address.to_owned();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut number, mut buffer) = (0, Vec::new());
            while Instant::now() < end {
                stream
                    .write_all(request(series, connection, number).as_bytes())
                    .await
                    .unwrap();
                assert!(
                    answer(&mut stream, &mut buffer).await,
                    "{}",
                    String::from_utf8_lossy(&buffer)
                );
                number += 1;
            }
            number
        });
    }
    clients.join_all().await.into_iter().sum()
}

/// Opens connections. Each serves one request; a slow one then sends half of the headers of another.
pub(crate) async fn connections(address: &str, count: usize, is_slow: bool) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    let mut buffer = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(request(99_999, number, 0).as_bytes())
            .await
            .unwrap();
        answer(&mut stream, &mut buffer).await;
        if is_slow {
            stream
                .write_all(b"POST / HTTP/1.1\r\nhost: loc")
                .await
                .unwrap();
        }
        connections.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    connections
}
