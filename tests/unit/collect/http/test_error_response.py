"""Every error has one status, and one form."""

from typing import get_args

import orjson
import pytest

from tracker.collect.errors import HTTP_STATUS, ErrorCode, RequestError
from tracker.collect.http.error_response import error_response


def test_the_table_has_every_error():
    assert set(HTTP_STATUS) == set(get_args(ErrorCode))
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_the_answer_has_the_tables_status_and_the_reasons(code):
    response = error_response(RequestError(code, "no", reasons=["because"], retry_after_seconds=7))
    assert response.status == HTTP_STATUS[code]
    assert orjson.loads(response.body) == {"error": {"code": code, "message": "no", "reasons": ["because"]}}
    assert dict(response.headers).get("Retry-After") == ("7" if response.status in (429, 503) else None)
