"""Logs that Hypothesis writes: every kind of record, from and for everybody, at times on and around every deadline."""

from hypothesis import strategies as st

from tests.sessions_log import MINUTE_MS, START_MS, Log
from topics.headers import FORWARDED_FROM, RETRY_COUNT, TRACEPARENT
from tracker.sessions.rules import Rules

RULES = Rules(
    timeout_ms=MINUTE_MS,
    max_length_ms=5 * MINUTE_MS,
    closed_stub_retention_ms=10 * MINUTE_MS,
    duplicate_window_ms=10 * MINUTE_MS,
    passive_grace_ms=3 * MINUTE_MS,
    page_events=2,
)
#: Rules whose limits are met within a few records.
TIGHT_RULES = st.builds(
    Rules,
    timeout_ms=st.just(MINUTE_MS),
    max_length_ms=st.sampled_from([MINUTE_MS, 5 * MINUTE_MS]),
    closed_stub_retention_ms=st.sampled_from([0, MINUTE_MS, 10 * MINUTE_MS]),
    duplicate_window_ms=st.sampled_from([1_000, MINUTE_MS, 10 * MINUTE_MS]),
    passive_grace_ms=st.sampled_from([0, MINUTE_MS, 10 * MINUTE_MS]),
    renewal_context=st.sampled_from(["all", "identity", "none"]),
    campaign_change=st.sampled_from(["keep", "split"]),
    page_events=st.sampled_from([1, 2, 64]),
    keys_are_used=st.booleans(),
    max_events=st.sampled_from([1, 3, 100_000]),
    max_context_bytes=st.sampled_from([4, 8, 8_192]),
)

HERE, ELSEWHERE = 3, 1
#: The second was born long before the logs begin, the third is at home in another partition.
OLD_KEY = "019b0000-0000-7000-8000-000000000000"
MISPLACED_KEY = "elsewhere"
KEYS = st.sampled_from(["a", OLD_KEY, MISPLACED_KEY, "b"])


def home_of(key: bytes) -> int:
    return ELSEWHERE if key == MISPLACED_KEY.encode() else HERE


WORKSPACES = st.sampled_from(["w1", "w2", ""])
CONTEXT = st.fixed_dictionaries(
    {}, optional={"user_id": st.sampled_from(["u1", "Zoë", ""]), "workspace_id": WORKSPACES, "ab_test_id": st.just("t")}
)
SESSION_CONTEXT = st.builds(
    lambda context, consent: context | consent,
    CONTEXT,
    st.fixed_dictionaries({}, optional={"consent_analytics": st.sampled_from(["granted", "denied"])}),
)
VISITORS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "city": st.sampled_from(["Köln", ""]),
        "is_bot": st.booleans(),
        "utm_source": st.sampled_from(["mail", "ads", ""]),
    },
)
#: A record may name its workspace itself; then its data names the same one, or none.
ENVELOPES = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "workspace_id": WORKSPACES,
        "visitor_id": st.sampled_from(["v1", "v2", ""]),
        "passive": st.just(True),
        "open_only": st.just(True),
    },
)
EVENT_IDS = st.sampled_from("pqrstuvw") | st.none()
HEADERS = st.just([]) | st.lists(
    st.sampled_from(
        [
            (RETRY_COUNT, b"2"),
            (TRACEPARENT, b"0" * 55),
            (TRACEPARENT, b"0" * 54),
            *((FORWARDED_FROM, b"%d:%d" % (partition, offset)) for partition in (0, ELSEWHERE) for offset in (0, 5)),
        ]
    ),
    max_size=3,
    unique_by=lambda header: header[0],
)
STEPS = st.one_of(
    st.tuples(st.just("event"), KEYS, EVENT_IDS, CONTEXT, VISITORS, st.sampled_from([0, 0, 3]), ENVELOPES),
    st.tuples(
        st.just("session"),
        KEYS,
        st.sampled_from([None, None, 1, 120]),
        SESSION_CONTEXT,
        VISITORS,
        st.just(0),
        ENVELOPES,
    ),
    st.tuples(st.just("expire"), KEYS, st.sampled_from([None, "w1", "w2"]), ENVELOPES),
    st.tuples(st.just("flush"), KEYS),
    st.tuples(st.just("garbage"), KEYS),
    st.tuples(st.just("tick"), KEYS),
)
#: Time between records, in milliseconds; it may also run backwards, as after a change of leader.
GAPS = st.sampled_from([0, 1, 1_000, 1_001, MINUTE_MS - 1, MINUTE_MS, MINUTE_MS + 1, 2 * MINUTE_MS, 5 * MINUTE_MS + 1])
GAPS |= st.integers(min_value=-MINUTE_MS, max_value=12 * MINUTE_MS)
MAX_RECORDS = 40
LOGS = st.lists(st.tuples(STEPS, GAPS, HEADERS), max_size=MAX_RECORDS)
CUTS = st.integers(min_value=0, max_value=MAX_RECORDS)


def write(steps: list, rules: Rules = RULES) -> Log:
    """Append what the steps say; fold nothing yet."""
    log = Log(rules, HERE, home_of)
    at = START_MS
    for step, gap, headers in steps:
        at = max(START_MS, at + gap)
        _append(log, at, *step)
        log.records[-1] = log.records[-1]._replace(headers=tuple(headers))
    return log


def _append(log: Log, at: int, kind: str, key: str, *rest) -> None:
    match kind, *rest:
        case "event", event_id, context, visitor, retries, envelope:
            ids = {"event_id": event_id} if event_id else {}
            more = _fitting("event", context, envelope)
            log.event(key, at, visitor=visitor, retry_count=retries, envelope=more, **ids, **context)
        case "session", timeout_seconds, context, visitor, retries, envelope:
            timeout = {"timeout_seconds": timeout_seconds} if timeout_seconds else {}
            more = _fitting("session", context, envelope)
            log.session(key, at, visitor=visitor, retry_count=retries, envelope=more, **timeout, **context)
        case "expire", workspace_id, envelope:
            context = {"workspace_id": workspace_id} if workspace_id else {}
            log.expire(key, at, envelope=_fitting("expire", context, envelope), **context)
        case ("flush",):
            log.flush(key, at)
        case ("garbage",):
            log.raw(key.encode(), b"\xff", at)
        case ("tick",):
            log.tick(at)


def _fitting(kind: str, data: dict, envelope: dict) -> dict:
    """An envelope without fields that this kind of record lacks; mostly it names the workspace that the data name."""
    flags = {"event": "passive", "session": "open_only"}
    fields = {"workspace_id", flags.get(kind), "visitor_id" if kind in flags else None}
    kept = {name: value for name, value in envelope.items() if name in fields}
    if data.get("workspace_id") and "workspace_id" in kept and data.get("user_id") != "Zoë":
        kept["workspace_id"] = data["workspace_id"]
    return kept
