// The parts that reader and sender share.

import { createRequire } from "node:module";

// From the folder that the test installs into, so that this one stays as it is in the repository.
const require = createRequire(`${process.env.CLIENT_MODULES ?? process.cwd()}/`);
const { connect } = require("@nats-io/transport-node");
const { jetstream } = require("@nats-io/jetstream");

export const sdk = require("cloudevents");
export const STRUCTURED = "application/cloudevents+json";

export async function readStream(url, stream) {
  const connection = await connect({ servers: url, timeout: 5000 });
  const client = jetstream(connection);
  const manager = await client.jetstreamManager();
  const wanted = (await manager.streams.info(stream)).state.messages;
  const consumer = await client.consumers.get(stream);
  const messages = [];
  while (messages.length < wanted) {
    const message = await consumer.next({ expires: 10_000 });
    if (message === null) break;
    const names = message.headers?.keys() ?? [];
    const headers = Object.fromEntries(names.map((name) => [name, message.headers.get(name)]));
    messages.push({ subject: message.subject, headers, payload: Buffer.from(message.data) });
  }
  await connection.close();
  return messages;
}

export function withoutNulls(event) {
  return Object.fromEntries(Object.entries(event).filter(([, value]) => value !== null));
}
