"""What a schema cannot say of a valid request: which moment it is, and what two of its fields have to do with each other."""

from datetime import datetime, timezone

import schemathesis


def now():
    return datetime.now(timezone.utc).isoformat()


def meant(event):
    """An event happened just now, and its payload is of its type."""
    if not isinstance(event, dict):
        return event
    if is_moment(event.get("event_timestamp")):
        event["event_timestamp"] = now()
    data = event.get("event_data")
    if isinstance(data, dict) and isinstance(data.get("event_type"), str) and event.get("event_type"):
        if isinstance(event["event_type"], str) and len(event["event_type"]) <= 100:
            event["event_type"] = data["event_type"]
    if is_moment(event.get("sent_at")):
        event["sent_at"] = now()
    return event


def is_moment(value):
    try:
        datetime.fromisoformat(value)
        return True
    except (TypeError, ValueError):
        return False


def has_nul(value):
    if isinstance(value, dict):
        return any(has_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(has_nul, value))
    return isinstance(value, str) and "\0" in value


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, list):
        case.body = [meant(event) for event in case.body]
    else:
        case.body = meant(case.body)


@schemathesis.hook
def filter_body(context, body):
    """U+0000 is stored nowhere; of JSON that may have any form no schema says so."""
    return not has_nul(body)


@schemathesis.hook
def filter_query(context, query):
    """A range has one bound, and a version belongs to a workflow."""
    if not isinstance(query, dict):
        return True
    asked = {name for name, value in query.items() if value not in (None, "")}
    if {"since", "until"} <= asked or {"start_time", "end_time"} <= asked:
        return False
    if "workflow_version" in asked and "workflow_id" not in asked:
        return False
    return not context.operation.path.endswith("multi-dimensional") or bool(asked & {"incident_type", "workflow_id"})
