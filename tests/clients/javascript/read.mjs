// Reads a stream with the NATS client for Node, parses each message with the CloudEvents SDK, and compares it
// with the published line.
//
// usage: node read.mjs URL STREAM structured|binary FILE...
//
// The SDK has no NATS binding. Theirs: connecting, reading, headers (@nats-io); the JSON format, the `ce-`
// headers, validation (the SDK's HTTP binding). Ours, and so not tested by them: header values are
// percent-decoded by `decodeURIComponent`, since the SDK does not; `ce-datacontenttype` is passed on as HTTP's
// `content-type`; members that are null are removed first, because null means absent in the JSON format; the
// body is passed on as text if its type is JSON, else as bytes. The SDK can't represent everything: times are
// compared to the millisecond, integers exactly up to 2^53, and for data of a JSON type that the SDK does not
// recognize (any but the bare `application/json`) the message's payload is compared instead of the SDK's data.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { STRUCTURED, readStream, sdk, withoutNulls } from "./common.mjs";

const { HTTP } = sdk;

function emitted(file) {
  const lines = readFileSync(file, "utf8").split("\n").map((line) => line.replace(/\r$/, ""));
  return lines.filter(Boolean).map((line, index) => ({ place: `${file}:${index + 1}`, line }));
}

function isJson(mediaType) {
  const subtype = mediaType.split(";")[0].trim().split("/").at(-1).toLowerCase();
  return subtype === "json" || subtype.endsWith("+json");
}

// The tenant's subject, by the rule that the README states.
function subjectToken(event) {
  const tenants = [event.data?.tenantId, event.data?.correlation?.tenantId];
  return tenants.find((tenant) => typeof tenant === "string") ?? "single";
}

function parseStructured({ headers, payload }) {
  const event = JSON.parse(payload.toString());
  const nulls = Object.values(event).includes(null);
  const body = nulls ? JSON.stringify(withoutNulls(event)) : payload.toString();
  return HTTP.toEvent({ headers: { "content-type": headers["content-type"] }, body });
}

function parseBinary({ headers, payload }) {
  const decoded = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith("ce-")) continue;
    const there = name === "ce-datacontenttype" ? "content-type" : name;
    decoded[there] = decodeURIComponent(value);
  }
  const json = isJson(decoded["content-type"] ?? "application/json");
  return HTTP.toEvent({ headers: decoded, body: json ? payload.toString() : payload });
}

// Each way in which the message is not the line's event.
function differences(mode, line, message) {
  const found = [];
  const differ = (what, expected, is) => {
    if (!isDeepStrictEqual(expected, is)) {
      found.push(`${what} is ${JSON.stringify(is)}, not ${JSON.stringify(expected)}`);
    }
  };
  const event = withoutNulls(JSON.parse(line));
  const { data, data_base64: encoded, ...attributes } = event;
  const marked = Object.keys(message.headers).filter((name) => name.toLowerCase().startsWith("ce-"));
  differ("subject token", subjectToken(event), message.subject.split(".").at(-1));
  differ("header traceparent", event.traceparent, message.headers.traceparent);
  differ("header tracestate", event.tracestate, message.headers.tracestate);
  if (!message.headers["Nats-Msg-Id"]) found.push("there is no message id");

  if (mode === "structured") {
    differ("content-type", STRUCTURED, message.headers["content-type"]);
    differ("ce- headers", [], marked);
    differ("payload", line, message.payload.toString());
  } else {
    // Implied by the JSON format, and explicit in another one.
    if (data !== undefined) attributes.datacontenttype ??= "application/json";
    const names = Object.keys(attributes).map((name) => `ce-${name}`);
    differ("ce- headers", names.sort(), marked.sort());
    for (const name of marked) {
      if (!/^[\x21\x23-\x7e]*$/.test(message.headers[name])) {
        found.push(`header ${name} is not encoded: ${JSON.stringify(message.headers[name])}`);
      }
    }
  }
  const parsed = mode === "structured" ? parseStructured(message) : parseBinary(message);

  for (const [name, value] of Object.entries(attributes)) {
    if (name === "time") differ(name, Date.parse(value), Date.parse(parsed.time));
    // A header holds a boolean's or an integer's JSON.
    else differ(`attribute ${name}`, mode === "binary" ? `${value}` : value, parsed[name]);
  }
  const known = ["specversion", "id", "source", "type", "subject", "dataschema", "datacontenttype"];
  const more = Object.keys(parsed).filter((name) => !["time", "data", "data_base64"].includes(name));
  for (const name of new Set([...known, ...more])) {
    if (!(name in attributes)) differ(`attribute ${name}`, undefined, parsed[name]);
  }

  const bytes = encoded === undefined ? undefined : Buffer.from(encoded, "base64");
  if (mode === "structured") {
    if (bytes) differ("data", [...bytes], [...parsed.data]);
    else differ("data", data, parsed.data);
  } else if (bytes) {
    differ("payload", bytes, message.payload);
  } else if (data === undefined) {
    differ("payload", "", message.payload.toString());
  } else if (isJson(event.datacontenttype ?? "application/json")) {
    differ("payload", data, JSON.parse(message.payload.toString()));
    if (event.datacontenttype === "application/json") differ("data", data, parsed.data);
  } else {
    differ("payload", data, message.payload.toString());
    differ("data", data, Buffer.from(parsed.data).toString());
  }
  return found;
}

const [url, stream, mode, ...files] = process.argv.slice(2);
const lines = files.flatMap(emitted);
const messages = await readStream(url, stream);
let wrong = 0;
if (lines.length !== messages.length) {
  wrong += 1;
  console.log(`${messages.length} messages for ${lines.length} events`);
}
for (const [index, message] of messages.slice(0, lines.length).entries()) {
  const { place, line } = lines[index];
  let found;
  try {
    found = differences(mode, line, message);
  } catch (error) {
    // An SDK that can't parse it is a finding, too.
    found = [`can't be parsed: ${error}`];
  }
  wrong += found.length > 0 ? 1 : 0;
  for (const difference of found) console.log(`${place}: ${difference}`);
}
console.log(
  `javascript, ${mode}: ${messages.length} messages of ${lines.length} events, ${wrong} wrong`,
);
process.exit(wrong > 0 || lines.length === 0 ? 1 : 0);
