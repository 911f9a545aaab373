// Sends events to `jetsink serve` with the CloudEvents SDK and fetch, and compares the stream with them.
//
// usage: node send.mjs GATEWAY NATS-URL STREAM structured|binary|batched FILE...
//
// Theirs: the JSON format, the `ce-` headers (the SDK), HTTP (fetch). Ours: header values are percent-encoded, since the
// SDK does not; members that are null are removed first; the SDK has no batched mode, so a batch joins its structured
// events. The SDK refuses some valid events, such as extension values of other types than its own: they are counted.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { STRUCTURED, readStream, sdk, withoutNulls } from "./common.mjs";

const { CloudEvent, HTTP } = sdk;

const BATCHED = "application/cloudevents-batch+json";
const BATCH = 10;

function events(files) {
  const made = [];
  let refused = 0;
  for (const file of files) {
    const lines = readFileSync(file, "utf8").split("\n").filter((line) => line.trim());
    for (const [index, line] of lines.entries()) {
      const members = withoutNulls(JSON.parse(line));
      try {
        // Both files have the same ids.
        made.push(new CloudEvent({ ...members, id: `${file}:${index + 1}` }));
      } catch {
        refused += 1;
      }
    }
  }
  return { made, refused };
}

// Section 3.1.3.2 of the HTTP binding.
function encoded(headers) {
  const encode = (value) =>
    Array.from(String(value), (character) =>
      /[\x21\x23\x24\x26-\x7e]/.test(character) ? character : percent(character),
    ).join("");
  const percent = (character) =>
    Array.from(Buffer.from(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  const attribute = ([name, value]) => (name.startsWith("ce-") ? [name, encode(value)] : [name, value]);
  return Object.fromEntries(Object.entries(headers).map(attribute));
}

async function post(gateway, headers, body) {
  const answer = await fetch(gateway, { method: "POST", headers, body });
  if (answer.status !== 202) {
    throw new Error(`${answer.status} ${await answer.text()} for ${JSON.stringify(headers)} ${body}`);
  }
}

async function send(gateway, mode, all) {
  const messages = all.map((event) => (mode === "binary" ? HTTP.binary(event) : HTTP.structured(event)));
  if (mode === "batched") {
    for (let start = 0; start < messages.length; start += BATCH) {
      const bodies = messages.slice(start, start + BATCH).map((message) => message.body);
      await post(gateway, { "content-type": BATCHED }, `[${bodies.join(",")}]`);
    }
    return messages;
  }
  for (const message of messages) await post(gateway, encoded(message.headers), message.body);
  return messages;
}

function* differences(mode, made, stored) {
  if (!stored) return yield "it is not stored";
  const body = Buffer.from(made.body ?? "");
  if (!stored.payload.equals(body)) yield `payload is ${stored.payload}, not ${body}`;
  if (mode !== "binary") {
    const type = stored.headers["content-type"];
    if (type !== STRUCTURED) yield `content-type is ${type}`;
    return;
  }
  const attributes = (headers, decode) => {
    const found = Object.entries(headers).filter(([name]) => name.startsWith("ce-"));
    return Object.fromEntries(found.map(([name, value]) => [name, decode(String(value))]).sort());
  };
  const expected = attributes(made.headers, (value) => value);
  if (made.headers["content-type"]) expected["ce-datacontenttype"] = made.headers["content-type"].trim();
  const sorted = Object.fromEntries(Object.entries(expected).sort());
  const found = attributes(stored.headers, decodeURIComponent);
  if (!isDeepStrictEqual(found, sorted)) yield `attributes are ${JSON.stringify(found)}, not ${JSON.stringify(sorted)}`;
}

const [gateway, url, stream, mode, ...files] = process.argv.slice(2);
const { made: all, refused } = events(files);
const made = await send(gateway, mode, all);
let stored = await readStream(url, stream);
let wrong = Number(stored.length !== made.length);
if (mode === "batched") {
  // Subjects differ, and so the order of a batch is that of each subject.
  const byBody = new Map(stored.map((message) => [message.payload.toString(), message]));
  stored = made.map((message) => byBody.get(message.body));
}
for (const [index, message] of made.entries()) {
  for (const difference of differences(mode, message, stored[index])) {
    wrong += 1;
    console.log(`${all[index].id}: ${difference}`);
  }
}
console.log(`javascript, ${mode}: ${stored.length} messages of ${made.length} events, ${wrong} wrong, ${refused} refused by the SDK`);
process.exit(wrong || !made.length ? 1 : 0);
