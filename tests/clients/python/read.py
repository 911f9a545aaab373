"""Reads a stream with nats-py, parses each message with the CloudEvents SDK, and compares it with the
published line.

usage: read.py URL STREAM structured|binary|batched FILE...

The SDK has no NATS binding. Theirs: connecting, reading, headers (nats-py); the JSON format, the `ce-`
headers with their percent-encoding, validation (the SDK's HTTP binding, which encodes as the NATS
binding does). Ours, and so not tested by them: `ce-datacontenttype` is percent-decoded and passed on as
`content-type`, which HTTP does not encode; members that are null are removed first, because the SDK takes a null
`time` for a time, although null means absent in the JSON format; the SDK adds a time to events without one, which is
not compared.
"""

import asyncio
import base64
import json
import sys
from datetime import datetime

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from dateutil.parser import isoparse

sys.dont_write_bytecode = True  # the repository stays as it is
from common import STRUCTURED, parse_binary, read_stream, without_nulls

CORE = {"specversion", "id", "source", "type", "subject", "datacontenttype", "dataschema"}


def emitted(files):
    for file in files:
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{file}:{number}", line.rstrip(b"\r\n")


def is_json(media_type):
    subtype = media_type.split(";")[0].strip().rsplit("/")[-1].lower()
    return subtype == "json" or subtype.endswith("+json")


def expected_data(event):
    """What the event's JSON says its data is: bytes, or a JSON value, or None."""
    if "data_base64" in event:
        return base64.b64decode(event["data_base64"], validate=True)
    return event.get("data")


def canonical(value):
    """An attribute as a header holds it: booleans and integers by their JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def subject_of(event):
    """The tenant's subject, by the rule that the README states."""
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    correlation = data.get("correlation")
    correlation = correlation if isinstance(correlation, dict) else {}
    for tenant in (data.get("tenantId"), correlation.get("tenantId")):
        if isinstance(tenant, str):
            return tenant
    return "single"


def parse_structured(message):
    event = without_nulls(json.loads(message.data))
    body = json.dumps(event).encode()
    return from_http_event(HTTPMessage({"content-type": message.headers["content-type"]}, body))


def differences(mode, line, message):
    """Each way in which the message is not the line's event."""
    event = without_nulls(json.loads(line))
    headers = dict(message.headers or {})

    def differ(what, expected, found):
        if expected != found or type(expected) is not type(found):
            yield f"{what} is {found!r}, not {expected!r}"

    yield from differ("subject token", subject_of(event), message.subject.rsplit(".", 1)[-1])
    yield from differ("header traceparent", event.get("traceparent"), headers.get("traceparent"))
    yield from differ("header tracestate", event.get("tracestate"), headers.get("tracestate"))
    if "Nats-Msg-Id" not in headers:
        yield "there is no message id"
    marked = sorted(name for name in headers if name.lower().startswith("ce-"))
    attributes = {name: v for name, v in event.items() if name not in ("data", "data_base64")}
    if mode == "structured":
        yield from differ("content-type", STRUCTURED, headers.get("content-type"))
        yield from differ("ce- headers", [], marked)
        yield from differ("payload", line, message.data)
        parsed = parse_structured(message)
    else:
        if "data" in event:
            # Implied by the JSON format, and explicit in another one.
            attributes.setdefault("datacontenttype", "application/json")
        yield from differ("ce- headers", sorted(f"ce-{name}" for name in attributes), marked)
        for name in marked:
            if not all(0x21 <= ord(c) <= 0x7E and c != '"' for c in headers[name]):
                yield f"header {name} is not encoded: {headers[name]!r}"
        attributes = {name: canonical(value) for name, value in attributes.items()}
        parsed = parse_binary(message)

    found = dict(parsed.get_attributes())
    time = attributes.pop("time", None)
    parsed_time = found.pop("time")
    if time is not None:
        yield from differ("time", isoparse(time), parsed_time)
        yield from differ("time zone", datetime.utcoffset(isoparse(time)), parsed_time.utcoffset())
    for name in sorted(CORE | attributes.keys() | found.keys()):
        yield from differ(f"attribute {name}", attributes.get(name), found.get(name))

    data = expected_data(event)
    if mode == "structured":
        yield from differ("data", data, parsed.get_data())
        return
    # The SDK's guess for what is not JSON: text if it is UTF-8, else bytes.
    if is_json(event.get("datacontenttype", "application/json")) and not isinstance(data, bytes):
        yield from differ("data", data, parsed.get_data())
    else:
        yield from differ("payload", data.encode() if isinstance(data, str) else data, message.data)
        guess = parsed.get_data()
        yield from differ("data", message.data, guess.encode() if isinstance(guess, str) else guess)


def main():
    url, stream, mode, *files = sys.argv[1:]
    lines = list(emitted(files))
    messages = asyncio.run(read_stream(url, stream))
    if mode == "batched":
        # Subjects differ, and so the order of a batch is that of each subject.
        by_id = {json.loads(message.data)["id"]: message for message in messages}
        messages = [by_id.get(json.loads(line)["id"], messages[0]) for _, line in lines] if messages else []
        mode = "structured"
    wrong = 0
    if len(lines) != len(messages):
        wrong += 1
        print(f"{len(messages)} messages for {len(lines)} events")
    for (place, line), message in zip(lines, messages):
        try:
            found = list(differences(mode, line, message))
        except Exception as error:  # an SDK that can't parse it is a finding, too
            found = [f"can't be parsed: {error!r}"]
        wrong += bool(found)
        for difference in found:
            print(f"{place}: {difference}")
    print(f"python, {mode}: {len(messages)} messages of {len(lines)} events, {wrong} wrong")
    sys.exit(1 if wrong or not lines else 0)


main()
