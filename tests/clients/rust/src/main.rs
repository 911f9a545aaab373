//! Sends events to `jetsink serve` with the CloudEvents SDK for Rust and its binding for reqwest. Writes each event that it
//! sent to a file, as JSON by the SDK, for `read.py` to compare with the stream.
//!
//! usage: client-rust GATEWAY structured|binary|batched SENT FILE...
//!
//! Theirs: the events, their JSON, the `ce-` headers (the SDK), HTTP (reqwest). Ours: header values are percent-encoded,
//! since the SDK does not; members that are null are removed first; in binary mode data without a media type gets the one that
//! the JSON format implies, which the SDK does not send. The SDK refuses some valid events: they are counted.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;

use cloudevents::binding::reqwest::{RequestBuilderExt as _, RequestSerializer};
use cloudevents::message::StructuredDeserializer as _;
use cloudevents::{AttributesReader as _, Event};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Map, Value};

const BATCH: usize = 10;

/// Section 3.1.3.2 of the HTTP binding; bytes outside ASCII are always encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The events of the files, and the number of those that the SDK refuses.
fn events(files: &[String], mode: &str) -> Result<(Vec<Event>, usize), Box<dyn Error>> {
    let (mut made, mut refused) = (Vec::new(), 0);
    for file in files {
        for (index, line) in fs::read_to_string(file)?.lines().enumerate() {
            let mut members: Map<String, Value> = serde_json::from_str(line)?;
            members.retain(|_, value| !value.is_null());
            if mode == "binary" && members.contains_key("data") {
                let implied = || "application/json".into();
                members.entry("datacontenttype").or_insert_with(implied);
            }
            // Both files have the same ids.
            members.insert("id".to_owned(), format!("{file}:{}", index + 1).into());
            match serde_json::from_value::<Event>(members.into()) {
                Ok(event) => made.push(event),
                Err(_) => refused += 1,
            }
        }
    }
    Ok((made, refused))
}

async fn send(request: RequestBuilder, client: &Client) -> Result<(), Box<dyn Error>> {
    let mut request = request.build()?;
    for (name, value) in request.headers_mut() {
        if name.as_str().starts_with("ce-") {
            let encoded = percent_encode(value.as_bytes(), ENCODED).to_string();
            *value = HeaderValue::from_str(&encoded)?;
        }
    }
    let answer = client.execute(request).await?;
    match answer.status() {
        StatusCode::ACCEPTED => Ok(()),
        status => Err(format!("{status} {}", answer.text().await?).into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gateway, mode, sent, files @ ..] = &arguments[..] else {
        return Err("usage: client-rust GATEWAY structured|binary|batched SENT FILE...".into());
    };
    let client = Client::new();
    let (events, refused) = events(files, mode)?;
    let mut lines = File::create(sent)?;
    for event in &events {
        writeln!(lines, "{}", serde_json::to_string(event)?)?;
    }
    if mode == "batched" {
        for batch in events.chunks(BATCH) {
            send(client.post(gateway).events(batch.to_vec())?, &client).await?;
        }
    } else {
        for event in &events {
            let request = client.post(gateway);
            let request = match mode.as_str() {
                "binary" => request.event(event.clone())?,
                _ => event
                    .clone()
                    .deserialize_structured(RequestSerializer::new(request))?,
            };
            let sent = send(request, &client).await;
            sent.map_err(|error| format!("{}: {error}", event.id()))?;
        }
    }
    println!(
        "rust, {mode}: {} events sent, {refused} refused by the SDK",
        events.len()
    );
    Ok(())
}
