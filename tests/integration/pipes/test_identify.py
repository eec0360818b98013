"""Whose sessions are whose: the rules by which a visitor's sessions are linked to users, each as a case."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.pipes.conftest import Ask, asking
from topics.session import SessionRow

#: For each rule its sessions, in their order, as (visitor, user known in it), and the user that each is linked to.
CASES: dict[str, list[tuple[str, str, str]]] = {
    "a session keeps the user who was known in it": [("v", "ann", "ann"), ("v", "bob", "bob"), ("v", "ann", "ann")],
    "identify counts from then on": [("v", "ann", "ann"), ("v", "", "ann"), ("v", "", "ann")],
    "identify counts backwards": [("v", "", "ann"), ("v", "", "ann"), ("v", "ann", "ann")],
    "between two users it is the one before": [("v", "ann", "ann"), ("v", "", "ann"), ("v", "bob", "bob")],
    "before two users it is the first one": [("v", "", "ann"), ("v", "ann", "ann"), ("v", "bob", "bob")],
    "another visitor's user is no user of this one": [("v", "ann", "ann"), ("w", "", "")],
    "a user with two devices is one user": [
        ("v", "", "ann"),
        ("v", "ann", "ann"),
        ("w", "ann", "ann"),
        ("w", "", "ann"),
    ],
    "a visitor in another spelling is another visitor": [("v", "ann", "ann"), ("V", "", "")],
    "a user in another spelling is another user": [("v", "ann", "ann"), ("v", "Ann", "Ann"), ("v", "", "Ann")],
    "an id may be any text": [('it\'s ü, \\ "x"', "", "o'ann"), ('it\'s ü, \\ "x"', "o'ann", "o'ann")],
    "without identify there is no user": [("v", "", ""), ("v", "", "")],
}


def session_row(case: str, place: int, visitor_id: str, user_id: str, **fields: Any) -> dict[str, Any]:
    at = f"2026-03-{place + 1:02d}T10:00:00.000Z"
    return {
        **dict.fromkeys(SessionRow.__annotations__, ""),
        "session_id": f"s{place}",
        "session_key": f"s{place}",
        "workspace_id": case,
        "visitor_id": visitor_id,
        "user_id": user_id,
        "is_bot": False,
        "touches": "[]",
        "created_at": at,
        "last_activity_at": at,
        "closed_at": at,
        "is_expired": True,
        "event_count": 1,
        "session_timeout_seconds": 1800,
        "version": 4,
        **fields,
    }


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    tinybird = LocalTinybird(tmp_path_factory.mktemp("identify"))
    tinybird.start()
    rows = [
        session_row(case, place, visitor, user)
        for case, sessions in CASES.items()
        for place, (visitor, user, _) in enumerate(sessions)
    ]
    # The user of this one became known while it went on, and its row came before the older one.
    late = [session_row("late", 0, "v", "ann", version=8), session_row("late", 0, "v", "", version=4)]
    kiosk = [session_row("kiosk", place, "v", f"u{place:02d}") for place in range(25)]
    answer = tinybird.append("session_v1", b"\n".join(map(orjson.dumps, rows + late + kiosk)))
    assert answer.json["quarantined_rows"] == 0
    yield asking(tinybird)
    tinybird.stop()


@pytest.mark.parametrize("case", CASES)
def test_every_session_is_linked_as_the_rule_says(ask: Ask, case: str):
    expected: dict[str, tuple[int, int, int]] = {}
    for visitor, told, user in CASES[case]:
        if user:
            sessions = [each for each in CASES[case] if each[2] == user]
            linked = sum(not each[1] for each in sessions)
            expected[user] = (len(sessions), linked, len({each[0] for each in sessions}))
        assert told in ("", user), visitor
    rows = ask("users", workspace_id=case)
    assert {row["user_id"]: (row["sessions"], row["linked_sessions"], row["visitors"]) for row in rows} == expected


def test_a_user_who_became_known_later_in_a_session_was_known_in_it(ask: Ask):
    (row,) = ask("users", workspace_id="late")
    assert (row["user_id"], row["sessions"], row["linked_sessions"]) == ("ann", 1, 0)


def test_a_profile_names_all_users_who_were_known_in_a_visitors_sessions(ask: Ask):
    (row,) = ask("visitor_profiles", workspace_id="between two users it is the one before")
    assert (row["sessions"], row["users"], row["user_ids"]) == (3, 2, ["ann", "bob"])


def test_a_profile_names_twenty_users_at_most_and_counts_all(ask: Ask):
    (row,) = ask("visitor_profiles", workspace_id="kiosk")
    assert (row["users"], row["user_ids"]) == (25, [f"u{number:02d}" for number in range(20)])
