"""Which reports can be asked for, and with which parameters. Pure: a table, and the check of a query string."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from tracker.collect.errors import RequestError

MAX_TEXT_CHARS: Final = 256
MAX_FIELDS: Final = 40

_TIME: Final = r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"
_TEXT: Final = rf"[^\x00-\x1f\x7f]{{1,{MAX_TEXT_CHARS}}}"

#: The parameters, each with the pattern of its values. A pipe ignores parameters that it does not have.
PATTERNS: Final[Mapping[str, str]] = {
    "workspace_id": _TEXT,
    "date_from": _TIME,
    "date_to": _TIME,
    "campaign_id": _TEXT,
    "include_bots": "1",
    "limit": "[1-9][0-9]{0,2}|1000",
    "goal": _TEXT,
    "value_type": _TEXT,
    "by": "campaign|source|medium",
    "window_days": "[1-9][0-9]{0,2}",
    "period": "day|week|month",
    "depth": "[1-9]|10",
    "step_1": _TEXT,
    "step_2": _TEXT,
    "step_3": _TEXT,
    "step_4": _TEXT,
    "ab_test_id": _TEXT,
    "control": _TEXT,
    "split": _TEXT,
    "planned_visitors": "[1-9][0-9]{0,8}",
}
#: The pipes that answer.
REPORTS: Final = (
    "overview", "sessions_overview", "visitors", "retention", "campaign_conversion", "attribution", "funnel",
    "landing_pages", "paths", "ab_test_conversion", "ab_test_excluded", "data_quality", "data_quality_sessions",
)  # fmt: skip

_COMPILED: Final = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


class ReportQuery(NamedTuple):
    """A pipe, and the parameters to ask it with."""

    report: str
    parameters: dict[str, str]


def parse_report_query(query: str) -> ReportQuery:
    """Return what a query string asks for.

    Raises:
        RequestError: ``invalid``; names the fields that are wrong, never their values.
    """
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise RequestError("invalid", f"a query has at most {MAX_FIELDS} fields") from None
    parameters = dict(fields)
    report = parameters.pop("report", "")
    reasons = [
        f"{name}: must be {PATTERNS[name]}"
        for name, value in parameters.items()
        if name in _COMPILED and not _COMPILED[name].fullmatch(value)
    ]
    if not parameters.keys() <= PATTERNS.keys():
        reasons.append(f"the parameters are {', '.join(PATTERNS)}")
    if report not in REPORTS:
        reasons.append(f"report: must be one of {', '.join(REPORTS)}")
    if len(parameters) + ("report" in dict(fields)) != len(fields):
        reasons.append("a parameter may be given once")
    if reasons:
        raise RequestError("invalid", "this is not a query for a report", reasons=reasons)
    return ReportQuery(report, parameters)


def described_parameters() -> list[dict[str, Any]]:
    """Return the fields of a query string as OpenAPI describes them."""
    report = {"name": "report", "in": "query", "required": True, "schema": {"type": "string", "enum": list(REPORTS)}}
    return [
        report,
        *(
            {"name": name, "in": "query", "schema": {"type": "string", "pattern": f"^({pattern})$"}}
            for name, pattern in PATTERNS.items()
        ),
    ]
