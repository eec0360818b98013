"""The OpenAPI 3.1 document of the collector, made from its own types, limits and table of errors. Pure."""

from importlib.metadata import version
from typing import Final

from pydantic import TypeAdapter

from tracker.collect.api.openapi.blocks import REF, Json
from tracker.collect.api.openapi.paths import paths
from tracker.collect.api.openapi.schemas import SHAPES
from tracker.collect.records.context import RecordRules
from tracker.collect.records.json_body import MAX_JSON_DEPTH

_ABOUT: Final = f"""
202 means that it is safe: in Kafka on all in-sync replicas, or on disk while Kafka is away.

**Try again** after 408, 429, 5xx or no answer, after `Retry-After` seconds, with the same `event_id`: it counts once.
Any other 4xx stays what it is. **Keys**: where the collector has any, a write key goes with what is sent, a read key
with what is asked. **Bodies** are JSON, also as `text/plain` (sendBeacon), plain or `Content-Encoding: gzip` or
`deflate`, at most {MAX_JSON_DEPTH} deep. **Time**: with `sent_at` a wrong clock does no harm.
""".strip()


def document(*, max_body_bytes: int, default_timeout_seconds: int) -> Json:
    """Return the document of a collector with these limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tracker collector",
            "version": version("event-tracker"),
            "description": f"{_ABOUT} At most {max_body_bytes} bytes, unpacked too.",
        },
        "servers": [{"url": "/", "description": "the collector that serves this document"}],
        "tags": [
            {"name": "events", "description": "what happened"},
            {"name": "sessions", "description": "who it happened to"},
            {"name": "operations", "description": "for probes and Prometheus; keep them from strangers at your proxy"},
            {"name": "pages", "description": "for people and browsers"},
        ],
        "paths": paths(),
        "components": {"schemas": _schemas(default_timeout_seconds), "securitySchemes": _security_schemes()},
    }


def _schemas(default_timeout_seconds: int) -> Json:
    named, rest = TypeAdapter.json_schemas(
        [(name, "validation", shape) for name, shape in SHAPES.items()], ref_template=REF + "{model}"
    )
    schemas: Json = dict(rest.get("$defs", {}))
    for (name, _), schema in named.items():
        if "$ref" not in schema:
            schemas[name] = schema
    # The API's range is narrower than the log's, and a deployment's default widens it.
    low, high = RecordRules(default_timeout_seconds).timeout_range_seconds
    field = schemas["Session"]["properties"]["timeout_seconds"]
    field.update(minimum=low, maximum=high, default=default_timeout_seconds)
    return dict(sorted(schemas.items()))


def _security_schemes() -> Json:
    write = "A write key: public, for one workspace. A collector without keys needs none."
    return {
        "writeKey": {"type": "apiKey", "in": "header", "name": "X-Write-Key", "description": write},
        "writeKeyBearer": {"type": "http", "scheme": "bearer", "description": write},
        "writeKeyQuery": {"type": "apiKey", "in": "query", "name": "key", "description": write},
        "readKey": {"type": "http", "scheme": "bearer", "description": "A read key: secret, for one workspace."},
    }
