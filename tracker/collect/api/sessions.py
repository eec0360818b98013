"""``/api/v1/events/session``: open a session or add to its context, see it, close it, flush it."""

from typing import Literal

import msgspec

from tracker import clock
from tracker.collect.access.admission import Admission, Sender
from tracker.collect.api import responses
from tracker.collect.api.routes import SESSION
from tracker.collect.api.session_queries import SessionQueries
from tracker.collect.api.write_path import WritePath
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.records.json_body import parse_object
from tracker.collect.records.session_ids import session_id_from_path
from tracker.collect.records.source_records import control_record, session_record, take_sent_at
from tracker.settings import Settings


class SessionEndpoints:
    """The endpoints for sessions. ``queries`` is set while the collector runs."""

    def __init__(self, settings: Settings, path: WritePath, admission: Admission) -> None:
        self._path = path
        self._admission = admission
        self._default_timeout_seconds = settings.session_timeout_seconds
        self.queries: SessionQueries | None = None

    def open_session(self, request: Request, sender: Sender) -> Reply:
        """Open a session, or add to its context."""
        path = self._path
        fields = parse_object(path.body(request))
        if sender.policy == "drop":
            return path.drop(sender, 1, responses.dropped(sender.signal, None))
        visitor_id = path.visitor_id(sender, fields)
        context = msgspec.structs.replace(path.context(request, sender, take_sent_at(fields)), visitor_id=visitor_id)
        record = session_record(fields, context)
        path.count(sender, 1, (record.session_id,))
        max_age_seconds = fields.get("timeout_seconds", self._default_timeout_seconds)

        def respond() -> Response:
            response = path.keep_session(responses.accepted(record), record, sender, max_age_seconds)
            return path.keep_visitor(response, visitor_id, sender)

        return path.deliver(sender, [record], respond)

    def expire_session(self, request: Request, sender: Sender) -> Reply:
        """Close a session at this place in the log, if it belongs to the key's workspace."""
        return self._control("expire", sender, request.path.removeprefix(SESSION + "/"))

    def flush_session(self, request: Request, sender: Sender) -> Reply:
        """Have the numbered events of a session shipped now, although their batch is not full."""
        return self._control("flush", sender, request.path.removeprefix(SESSION + "/").removesuffix("/flush"))

    def session_state(self, request: Request) -> Reply:
        """Respond with a session's state; a read key sees its own workspace's sessions only."""
        reader = self._admission.reader(request)
        session_id = session_id_from_path(request.path.removeprefix(SESSION + "/"))
        if self.queries is None:
            raise RequestError("processor_unavailable", "the collector is starting")
        workspace_id = None if reader is None else reader.workspace_id
        return Reply.when_done(_state(self.queries, session_id, workspace_id))

    def _control(self, type_: Literal["expire", "flush"], sender: Sender, raw_id: str) -> Reply:
        session_id = session_id_from_path(raw_id)
        if not sender.owns(session_id):
            message = "a public key acts on a session with its cookie only: send it, or use a secret key"
            raise RequestError("forbidden", message)
        self._path.count(sender, 1, ())
        workspace_id = "" if sender.key is None else sender.key.workspace_id
        record = control_record(type_, session_id, clock.now_ms(), workspace_id)
        return self._path.deliver(sender, [record], lambda: responses.accepted(record))


async def _state(queries: SessionQueries, session_id: str, workspace_id: str | None) -> Response:
    response = responses.json_bytes(await queries.state(session_id, workspace_id))
    response.headers.append(("Cache-Control", "no-store"))
    return response
