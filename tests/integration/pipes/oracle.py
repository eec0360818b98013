"""What the pipes must answer about a history, by dictionaries and loops: no SQL, no code of the product."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from tests.integration.pipes.history import History, Row

Answer = dict[Any, tuple[Any, ...]]
FIRST, LAST = "2000-01-01 00:00:00", "2100-01-01 00:00:00"


class Oracle:
    """Answers for one set of parameters."""

    def __init__(self, history: History, parameters: Mapping[str, str]) -> None:
        self.asked = parameters
        self.begin = _parameter_time(parameters.get("date_from", FIRST))
        self.end = _parameter_time(parameters.get("date_to", LAST))
        self.excluded = {row["session_id"]: _excluded(row, parameters) for row in history.sessions}
        self.counted = [row for row in history.sessions if not self.excluded[row["session_id"]]]
        self.all_sessions = {row["session_id"]: row for row in history.sessions}
        self.events: dict[str, list[Row]] = defaultdict(list)
        for event in sorted(history.events, key=lambda event: event["session_event_sequence"]):
            self.events[event["session_id"]].append(event)

    def in_range(self) -> list[Row]:
        campaign = self.asked.get("campaign_id")
        return [
            row
            for row in self.counted
            if self.begin <= _time(row["created_at"]) < self.end and campaign in {None, row["campaign_id"]}
        ]

    def overview(self) -> tuple[Any, ...]:
        rows = self.in_range()
        seen = {_visitor(row) for row in rows}
        first: dict[str, datetime] = {}
        for row in self.counted:
            at = _time(row["created_at"])
            first[_visitor(row)] = min(at, first.get(_visitor(row), at))
        new = sum(first[visitor] >= self.begin for visitor in seen)
        events = sum(len(self.events[row["session_id"]]) for row in rows)
        bounced = sum(self._is_bounced(row) for row in rows)
        return (len(rows), len(seen), new, len(seen) - new, bounced, *self._converted(rows), events)

    def sessions_overview(self) -> Answer:
        days: dict[date, list[Row]] = _grouped(self.in_range(), lambda row: _time(row["created_at"]).date())
        return {
            str(day): (
                len(rows),
                len({_visitor(row) for row in rows}),
                sum(not row["is_expired"] for row in rows),
                sum(self._is_bounced(row) for row in rows),
                sum(self._conversions(row) > 0 for row in rows),
                sum(len(self.events[row["session_id"]]) for row in rows),
            )
            for day, rows in days.items()
        }

    def campaign_conversion(self) -> Answer:
        campaigns = _grouped(self.in_range(), lambda row: row["campaign_id"])
        return {campaign: (len(rows), *self._converted(rows)) for campaign, rows in campaigns.items()}

    def landing_pages(self) -> Answer:
        pages = _grouped(self.in_range(), lambda row: (self._landing_page(row), row["landing_page_id"]))
        return {
            page: (
                len(rows),
                len({_visitor(row) for row in rows}),
                sum(self._is_bounced(row) for row in rows),
                *self._converted(rows),
            )
            for page, rows in pages.items()
        }

    def paths(self, depth: int = 4) -> Answer:
        paths: dict[str, list[Row]] = defaultdict(list)
        for row in self.in_range():
            views = [e for e in self.events[row["session_id"]] if e["event_type"] == "pageview" and e["page_url"]]
            pages = [_page(event["page_url"]) for event in views]
            pages = [page for page, before in zip(pages, [None, *pages], strict=False) if page != before]
            if pages:
                paths[" → ".join(pages[:depth])].append(row)
        return {path: (len(rows), sum(self._conversions(row) > 0 for row in rows)) for path, rows in paths.items()}

    def funnel(self, steps: tuple[str, ...] = ("pageview", "click", "form_submit", "conversion")) -> Answer:
        reached: Counter[int] = Counter()
        campaign = self.asked.get("campaign_id")
        for session_id, events in self.events.items():
            if self.excluded.get(session_id):
                continue
            level = 0
            for event in events:
                if not self.begin <= _time(event["timestamp"]) < self.end:
                    continue
                if campaign not in {None, event["campaign_id"]}:
                    continue
                if level < len(steps) and event["event_type"] == steps[level]:
                    level += 1
            reached.update(range(1, level + 1))
        return {step: (reached[step],) for step in range(1, len(steps) + 1)}

    def visitors(self) -> Answer:
        first: dict[str, date] = {}
        for row in self.counted:
            day = _time(row["created_at"]).date()
            first[_visitor(row)] = min(day, first.get(_visitor(row), day))
        answer = {}
        rows_in_range = [row for row in self.counted if self.begin <= _time(row["created_at"]) < self.end]
        for day, rows in _grouped(rows_in_range, lambda row: _time(row["created_at"]).date()).items():
            seen = {_visitor(row) for row in rows}
            new = sum(first[visitor] == day for visitor in seen)
            answer[str(day)] = (len(seen), new, len(seen) - new, len(rows))
        return answer

    def retention(self, period: str) -> Answer:
        periods: dict[str, set[date]] = defaultdict(set)
        for row in self.counted:
            if _time(row["created_at"]) < self.end:
                periods[_visitor(row)].add(_period(_time(row["created_at"]).date(), period))
        cells: Counter[tuple[date, int]] = Counter()
        for seen in periods.values():
            cohort = min(seen)
            if cohort >= self.begin.date():
                cells.update((cohort, _periods_between(cohort, each, period)) for each in seen)
        return {(str(cohort), later): (count,) for (cohort, later), count in cells.items()}

    def attribution(self, by: str = "campaign", window_days: int = 30) -> Answer:
        journeys: dict[str, list[Row]] = _grouped(self.counted, _visitor)
        columns: dict[str, list[float]] = defaultdict(lambda: [0.0] * 11)
        for session in self.counted:
            for event in self.events[session["session_id"]]:
                at = _time(event["timestamp"])
                if event["event_type"] != "conversion" or not self.begin <= at < self.end:
                    continue
                touches = [
                    touch
                    for touch in sorted(journeys[_visitor(session)], key=_when)
                    if touch is session or at - timedelta(days=window_days) < _time(touch["created_at"]) <= at
                ]
                _credit(columns, touches, by, _value(event))
        return {touch: tuple(each) for touch, each in columns.items()}

    def visitor_profiles(self) -> Answer:
        profiles = {visitor: self._profile(rows) for visitor, rows in _grouped(self.counted, _visitor).items()}
        return {name: profile for name, profile in profiles.items() if self.begin <= _time(profile[1]) < self.end}

    def users(self) -> Answer:
        known: dict[str, list[Row]] = defaultdict(list)
        for rows in _grouped(self.counted, _visitor).values():
            rows.sort(key=_when)
            told = [row["user_id"] for row in rows]
            for place, row in enumerate(rows):
                before = [user for user in told[: place + 1] if user]
                after = [user for user in told[place:] if user]
                if before or after:
                    known[before[-1] if before else after[0]].append(row)
        answer = {}
        for user, rows in known.items():
            profile = self._profile(rows)
            if self.begin <= _time(profile[1]) < self.end:
                linked = sum(not row["user_id"] for row in rows)
                answer[user] = (*profile[:8], len({_visitor(row) for row in rows}), linked)
        return answer

    def _profile(self, rows: list[Row]) -> tuple[Any, ...]:
        rows = sorted(rows, key=_when)
        users = sorted({row["user_id"] for row in rows if row["user_id"]})
        _, conversions, value = self._converted(rows)
        return (
            rows[0]["created_at"],
            max(row["last_activity_at"] for row in rows),
            _touch(rows[0], "campaign"),
            _touch(rows[-1], "campaign"),
            len(rows),
            sum(len(self.events[row["session_id"]]) for row in rows),
            conversions,
            value,
            users,
        )

    def ab_test_visitors(self) -> Answer:
        seen: dict[str, list[tuple[datetime, str, str]]] = defaultdict(list)
        for session_id, session in self.all_sessions.items():
            sights = [
                (_time(e["timestamp"]), e["ab_test_variant_id"]) for e in self.events[session_id] if e["ab_test_id"]
            ]
            if session["ab_test_id"]:
                sights.append((_time(session["created_at"]), session["ab_test_variant_id"]))
            seen[_visitor(session)] += [(at, v, self.excluded[session_id]) for at, v in sights if at < self.end]
        answer = {}
        sessions = _grouped(self.all_sessions.values(), _visitor)
        for visitor, sights in seen.items():
            if not sights or min(sights)[0] < self.begin:
                continue
            since, variant, _ = min(sights)
            reasons = {reason for _, _, reason in sights}
            several = "several variants" if len({name for _, name, _ in sights}) > 1 else ""
            reason = "bot" if "bot" in reasons else "internal" if "internal" in reasons else several
            goals = [
                event
                for session in sessions[visitor]
                for event in self.events[session["session_id"]]
                if event["event_type"] == "conversion" and since <= _time(event["timestamp"]) < self.end
            ]
            answer[visitor] = (variant, reason, len(goals), sum(map(_value, goals)))
        return answer

    def ab_test_conversion(self) -> Answer:
        compared = [visitor for visitor in self.ab_test_visitors().values() if not visitor[1]]
        variants = _grouped(compared, lambda visitor: visitor[0])
        return {
            variant: (
                len(rows),
                sum(row[2] > 0 for row in rows),
                sum(row[2] for row in rows),
                sum(row[3] for row in rows),
            )
            for variant, rows in variants.items()
        }

    def _is_bounced(self, session: Row) -> bool:
        return session["is_expired"] and len(self.events[session["session_id"]]) <= 1

    def _conversions(self, session: Row) -> int:
        return sum(event["event_type"] == "conversion" for event in self.events[session["session_id"]])

    def _converted(self, sessions: list[Row]) -> tuple[int, int, float]:
        goals = [e for row in sessions for e in self.events[row["session_id"]] if e["event_type"] == "conversion"]
        return sum(self._conversions(row) > 0 for row in sessions), len(goals), sum(map(_value, goals))

    def _landing_page(self, session: Row) -> str:
        return next((_page(e["page_url"]) for e in self.events[session["session_id"]] if e["page_url"]), "")


def _credit(columns: dict[str, list[float]], touches: list[Row], by: str, value: float) -> None:
    count = len(touches)
    known = [place for place, touch in enumerate(touches) if not _is_direct(touch)]
    for place, touch in enumerate(touches):
        middle = 0.2 / (count - 2) if count > 2 else 0
        shares = (
            place == 0,
            place == count - 1,
            place == (known[-1] if known else count - 1),
            1 / count,
            1 if count == 1 else 0.5 if count == 2 else 0.4 if place in {0, count - 1} else middle,
        )
        column = columns[_touch(touch, by)]
        for number, share in enumerate(shares):
            column[1 + number] += share
            column[6 + number] += share * value
    for name in {_touch(touch, by) for touch in touches}:
        columns[name][0] += 1


def _visitor(session: Row) -> str:
    return session["visitor_id"] or session["session_key"]


def _is_direct(touch: Row) -> bool:
    return not any(
        touch[name]
        for name in ("campaign_id", "utm_source", "utm_medium", "utm_campaign", "click_id_type", "referrer_host")
    )


def _touch(touch: Row, by: str) -> str:
    if _is_direct(touch):
        return "(direct)"
    if by == "source":
        return touch["utm_source"] or touch["click_id_type"] or touch["referrer_host"] or "(not known)"
    if by == "medium":
        if touch["utm_medium"]:
            return touch["utm_medium"]
        return "(ad click)" if touch["click_id_type"] else "(referral)" if touch["referrer_host"] else "(not known)"
    return touch["campaign_id"] or touch["utm_campaign"] or "(no campaign)"


def _excluded(session: Row, parameters: Mapping[str, str]) -> str:
    if session["is_bot"] and "include_bots" not in parameters:
        return "bot"
    names = {
        name: set(parameters.get(name, "").split(",")) - {""} for name in ("internal_users", "internal_environments")
    }
    networks = [ip_network(each) for each in parameters.get("internal_networks", "").split(",") if each]
    is_internal = (
        session["user_id"] in names["internal_users"]
        or session["environment"] in names["internal_environments"]
        or any(session["ip"] and ip_address(session["ip"]) in network for network in networks)
    )
    return "internal" if is_internal and "include_internal" not in parameters else ""


def _page(url: str) -> str:
    host, path = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)([^?#]*)", url).groups()
    return f"{host.lower()}{path or '/'}"


def _value(event: Row) -> float:
    try:
        return float(event["event_value"]) if event["event_value_type"] == "EUR" else 0.0
    except ValueError:
        return 0.0


def _when(session: Row) -> tuple[str, str]:
    return session["created_at"], session["session_id"]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _parameter_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _period(day: date, period: str) -> date:
    return day.replace(day=1) if period == "month" else day if period == "day" else day - timedelta(days=day.weekday())


def _periods_between(first: date, later: date, period: str) -> int:
    if period == "month":
        return (later.year - first.year) * 12 + later.month - first.month
    return (later - first).days // (1 if period == "day" else 7)


def _grouped(rows: Iterable[Any], key: Any) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups
