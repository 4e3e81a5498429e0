"""What a schema cannot say of a valid request: which moment it is, and what two of its fields have to do with each other."""

from datetime import datetime, timezone

import schemathesis


def now():
    return datetime.now(timezone.utc).isoformat()


def meant(event):
    """An event happened just now, its payload is of its type, and what caused it is not stored yet."""
    if not isinstance(event, dict):
        return event
    event.pop("parent_event_id", None)
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
    query = case.query or {}
    # A range ends after it begins.
    for end in ("until", "end_time"):
        query.pop(end, None)
    # A version is one of a workflow, and something is asked for.
    if case.operation.path.startswith("/api/v1/success-rate"):
        query.setdefault("workflow_id", "restart")
        if case.operation.path.endswith("incident-type"):
            query.setdefault("incident_type", "KubePodOOM")
        case.query = query


@schemathesis.hook
def filter_body(context, body):
    """U+0000 is stored nowhere; of JSON that may have any form no schema says so."""
    return not has_nul(body)
