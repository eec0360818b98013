"""``/reports/data``: what the page of reports shows. The figures are those of the pipes, unchanged."""

import orjson

from tracker.collect.access.admission import Admission
from tracker.collect.access.local_clients import check_local
from tracker.collect.api import responses
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.reports.parameters import ReportQuery, parse_report_query
from tracker.collect.reports.pipes import ReportPipes


class ReportEndpoints:
    """The endpoint behind ``/reports``. ``pipes`` is set while the collector runs."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.pipes: ReportPipes | None = None

    def data(self, request: Request) -> Reply:
        """Respond with the rows of one report: a read key's workspace; without keys any, on this machine only."""
        reader = self._admission.reader(request)
        if reader is None:
            check_local(request)
        query = parse_report_query(request.query)
        asked = query.parameters.pop("workspace_id", None)
        if reader is not None and asked not in {None, reader.workspace_id}:
            raise RequestError("forbidden", "a read key sees its own workspace only")
        workspace_id = asked if reader is None else reader.workspace_id
        if workspace_id is None:
            raise RequestError("invalid", "say which workspace: workspace_id=...")
        if self.pipes is None:
            raise RequestError("tinybird_unavailable", "the collector is starting")
        return Reply.when_done(_rows(self.pipes, query, workspace_id))


async def _rows(pipes: ReportPipes, query: ReportQuery, workspace_id: str) -> Response:
    rows = await pipes.rows(query, workspace_id)
    response = responses.json_bytes(orjson.dumps({"workspace_id": workspace_id, "rows": rows}))
    response.headers.append(("Cache-Control", "no-store"))
    return response
