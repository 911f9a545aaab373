"""Changes events that schemathesis makes, where a document of JSON Schema cannot say what an event is."""

import itertools

import schemathesis

NUMBERS = itertools.count()


def adapt(event):
    # One id with two contents is refused.
    if isinstance(event.get("id"), str) and event["id"]:
        event["id"] += f"-{next(NUMBERS)}"
    # 1.0 is an integer for JSON Schema, and no attribute value for CloudEvents.
    for name, value in event.items():
        if name != "data" and isinstance(value, float) and value.is_integer():
            event[name] = int(value)


@schemathesis.hook
def before_call(context, case, kwargs):
    events = case.body if isinstance(case.body, list) else [case.body]
    for event in events:
        if isinstance(event, dict):
            adapt(event)
