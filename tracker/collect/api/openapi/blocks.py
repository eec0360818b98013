"""The blocks that the OpenAPI document is built of: an operation with its errors, a body, an answer."""

import json
from collections.abc import Sequence
from typing import Any, Final

from tracker.collect.errors import HTTP_STATUS, ErrorCode

Json = dict[str, Any]

#: Where the document keeps the named shapes.
REF: Final = "#/components/schemas/"

_RETRY_STATUS: Final = frozenset({429, 503})


def operation(tag: str, name: str, summary: str, codes: Sequence[ErrorCode]) -> Json:
    """Return an operation with its errors: those of one status stand together."""
    responses: Json = {}
    for status in sorted({HTTP_STATUS[code] for code in codes}):
        of_status = [code for code in HTTP_STATUS if code in codes and HTTP_STATUS[code] == status]
        refusal = answer(f"`{'`, `'.join(of_status)}`", "Error")
        refusal["content"]["application/json"]["example"] = {
            "error": {"code": of_status[0], "message": "what went wrong", "reasons": []}
        }
        if status in _RETRY_STATUS:
            refusal["headers"] = {
                "Retry-After": {
                    "description": "Seconds.",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 0},
                }
            }
        responses[str(status)] = refusal
    return {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}


def body(shapes: Sequence[str], examples: Json) -> Json:
    """Return a JSON body of one of these shapes, also as text/plain."""
    first = next(iter(examples.values()))
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": _one_of(shapes),
                "examples": {name: {"value": value} for name, value in examples.items()},
            },
            "text/plain": {
                "schema": {"type": "string", "contentMediaType": "application/json"},
                "example": json.dumps(first),
            },
        },
    }


def answer(description: str, *shapes: str) -> Json:
    """Return an answer with a JSON body of one of these shapes."""
    return {"description": description, "content": {"application/json": {"schema": _one_of(shapes)}}}


def text(description: str, media_type: str) -> Json:
    """Return an answer with text of this media type."""
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


def with_cookie(described: Json) -> Json:
    """Return the answer with the header that sets the session's cookie."""
    cookie = "The session, if the body names none; the visitor, with an answer on consent. HttpOnly, first-party."
    return {**described, "headers": {"Set-Cookie": {"description": cookie, "schema": {"type": "string"}}}}


def _one_of(shapes: Sequence[str]) -> Json:
    refs = [{"$ref": REF + shape} for shape in shapes]
    return refs[0] if len(refs) == 1 else {"anyOf": refs}
