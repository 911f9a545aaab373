"""Sends events to `jetsink serve` with the CloudEvents SDK and requests or httpx, and compares the stream with them.

usage: send.py GATEWAY NATS-URL STREAM requests|httpx structured|binary|batched FILE...

Theirs: the JSON format, the `ce-` headers with their percent-encoding (the SDK), and HTTP (requests, httpx). Ours: members
that are null are removed first, because the SDK takes a null `time` for a time; the SDK has no batched mode, so a batch
joins its structured events.
"""

import asyncio
import json
import sys
from urllib.parse import unquote

import httpx
import nats
import requests
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
BATCH = 10


async def read_stream(url, stream):
    client = await nats.connect(url, connect_timeout=5)
    jetstream = client.jetstream()
    wanted = (await jetstream.stream_info(stream)).state.messages
    subscription = await jetstream.subscribe("", stream=stream, ordered_consumer=True)
    messages = [await subscription.next_msg(timeout=10) for _ in range(wanted)]
    await client.close()
    return messages


def events(files):
    for file in files:
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                members = json.loads(line)
                members = {name: value for name, value in members.items() if value is not None}
                # Both files have the same ids.
                members["id"] = f"{file}:{number}"
                body = json.dumps(members).encode()
                yield from_http_event(HTTPMessage({"content-type": STRUCTURED}, body))


def sent(client, gateway, headers, body):
    answer = client.post(gateway, headers=headers, **{"data" if client is requests else "content": body})
    if answer.status_code != 202:
        sys.exit(f"{answer.status_code} {answer.text} for {dict(headers)} {body[:300]!r}")
    return answer


def send(client, gateway, mode, all_events):
    """Sends all events. Returns the messages that the SDK made."""
    if mode == "binary":
        messages = [to_binary_event(event) for event in all_events]
    else:
        messages = [to_structured_event(event) for event in all_events]
    if mode == "batched":
        for start in range(0, len(messages), BATCH):
            batch = b"[" + b",".join(message.body for message in messages[start : start + BATCH]) + b"]"
            sent(client, gateway, {"content-type": BATCHED}, batch)
        return messages
    for message in messages:
        answer = sent(client, gateway, message.headers, message.body)
        if answer.headers["jetsink-outcome"] != "stored" or answer.headers["jetsink-duplicate"] != "false":
            sys.exit(f"unexpected receipt {dict(answer.headers)}")
    return messages


def attributes(message):
    headers = dict(message.headers)
    media_type = headers.pop("ce-datacontenttype", None)
    if media_type is not None:
        headers["content-type"] = unquote(media_type)
    return from_http_event(HTTPMessage(headers, message.data)).get_attributes()


def differences(mode, event, made, stored):
    if stored.data != made.body:
        yield f"payload is {stored.data!r}, not {made.body!r}"
    if mode != "binary":
        if stored.headers.get("content-type") != STRUCTURED:
            yield f"content-type is {stored.headers.get('content-type')!r}"
        return
    # Header values are text; the SDK reads times back.
    expected = {name: text(value) for name, value in event.get_attributes().items()}
    found = {name: text(value) for name, value in attributes(stored).items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"attribute {name} is {found.get(name)!r}, not {expected.get(name)!r}"


def text(value):
    return str(value)


def main():
    gateway, url, stream, library, mode, *files = sys.argv[1:]
    client = {"requests": requests, "httpx": httpx}[library]
    all_events = list(events(files))
    made = send(client, gateway, mode, all_events)
    stored = asyncio.run(read_stream(url, stream))
    wrong = int(len(stored) != len(made))
    # Subjects differ, and so the order of a batch is that of each subject.
    if mode == "batched":
        by_body = {message.data: message for message in stored}
        stored = [by_body.get(message.body, stored[0]) for message in made]
    for event, message, found in zip(all_events, made, stored):
        for difference in differences(mode, event, message, found):
            wrong += 1
            print(f"{event.get_attributes()['id']}: {difference}")
    print(f"python {library}, {mode}: {len(stored)} messages of {len(made)} events, {wrong} wrong")
    sys.exit(1 if wrong or not made else 0)


main()
