"""The parts that reader and sender share."""

from urllib.parse import unquote

import nats
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

STRUCTURED = "application/cloudevents+json"


async def read_stream(url, stream):
    client = await nats.connect(url, connect_timeout=5)
    jetstream = client.jetstream()
    wanted = (await jetstream.stream_info(stream)).state.messages
    subscription = await jetstream.subscribe("", stream=stream, ordered_consumer=True)
    messages = [await subscription.next_msg(timeout=10) for _ in range(wanted)]
    await client.close()
    return messages


def without_nulls(event):
    return {name: value for name, value in event.items() if value is not None}


def parse_binary(message):
    """The event of a message in binary mode. HTTP does not encode `content-type`, and NATS has `ce-datacontenttype`."""
    headers = dict(message.headers)
    media_type = headers.pop("ce-datacontenttype", None)
    if media_type is not None:
        headers["content-type"] = unquote(media_type)
    return from_http_event(HTTPMessage(headers, message.data))
