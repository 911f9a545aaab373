"""Sends events to `jetsink serve` with the CloudEvents SDK and a client, and compares the stream with them.

usage: send.py GATEWAY NATS-URL STREAM requests|httpx|curl structured|binary|batched FILE...

Theirs: the JSON format, the `ce-` headers with their percent-encoding (the SDK), and HTTP (the client). Ours: members
that are null are removed first, because the SDK takes a null `time` for a time; the SDK has no batched mode, so a batch
joins its structured events.
"""

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import httpx
import requests
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event

sys.dont_write_bytecode = True  # the repository stays as it is
from common import STRUCTURED, parse_binary, read_stream, without_nulls

BATCHED = "application/cloudevents-batch+json"
BATCH = 10


def events(files):
    for file in files:
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                members = without_nulls(json.loads(line))
                # Both files have the same ids.
                members["id"] = f"{file}:{number}"
                body = json.dumps(members).encode()
                yield from_http_event(HTTPMessage({"content-type": STRUCTURED}, body))


def post_by_requests(gateway, headers, body):
    return requests.post(gateway, headers=headers, data=body)


def post_by_httpx(gateway, headers, body):
    return httpx.post(gateway, headers=headers, content=body)


def post_by_curl(gateway, headers, body):
    # Without "Expect", whose interim answer would precede the headers, and without curl's own content type.
    lines = [*(f"{name}: {value}" for name, value in headers.items()), "Expect:"]
    if "content-type" not in {name.lower() for name in headers}:
        lines.append("Content-Type:")
    fields = [part for line in lines for part in ("--header", line)]
    curl = ["curl", "--silent", "--show-error", "--include", "--data-binary", "@-", *fields, gateway]
    answer = subprocess.run(curl, input=body, stdout=subprocess.PIPE, check=True).stdout.decode()
    head, _, text = answer.partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    pairs = (field.split(": ", 1) for field in fields)
    return SimpleNamespace(status_code=int(status.split()[1]), headers=dict(pairs), text=text)


CLIENTS = {"requests": post_by_requests, "httpx": post_by_httpx, "curl": post_by_curl}


def sent(post, gateway, headers, body):
    answer = post(gateway, dict(headers), body or b"")
    if answer.status_code != 202:
        sys.exit(f"{answer.status_code} {answer.text} for {dict(headers)} {body[:300]!r}")
    return answer


def send(post, gateway, mode, all_events):
    """Sends all events. Returns the messages that the SDK made."""
    if mode == "binary":
        messages = [to_binary_event(event) for event in all_events]
    else:
        messages = [to_structured_event(event) for event in all_events]
    if mode == "batched":
        for start in range(0, len(messages), BATCH):
            batch = b"[" + b",".join(message.body for message in messages[start : start + BATCH]) + b"]"
            sent(post, gateway, {"content-type": BATCHED}, batch)
        return messages
    for message in messages:
        answer = sent(post, gateway, message.headers, message.body)
        if answer.headers["jetsink-outcome"] != "stored" or answer.headers["jetsink-duplicate"] != "false":
            sys.exit(f"unexpected receipt {dict(answer.headers)}")
    return messages


def differences(mode, event, made, stored):
    if stored.data != made.body:
        yield f"payload is {stored.data!r}, not {made.body!r}"
    if mode != "binary":
        if stored.headers.get("content-type") != STRUCTURED:
            yield f"content-type is {stored.headers.get('content-type')!r}"
        return
    # Header values are text; the SDK reads times back.
    expected = {name: text(value) for name, value in event.get_attributes().items()}
    found = {name: text(value) for name, value in parse_binary(stored).get_attributes().items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"attribute {name} is {found.get(name)!r}, not {expected.get(name)!r}"


def text(value):
    return str(value)


def main():
    gateway, url, stream, library, mode, *files = sys.argv[1:]
    all_events = list(events(files))
    made = send(CLIENTS[library], gateway, mode, all_events)
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
