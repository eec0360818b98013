"""The client's queue against every network that Hypothesis can think of: order, once, and nothing lost in silence."""

from collections import defaultdict

from event_tracker_client.answers import Answer
from event_tracker_client.items import Item, Undelivered
from event_tracker_client.outbox import Limits, Outbox, Parcel
from hypothesis import given
from hypothesis import strategies as st

SESSIONS = "abc"

#: What becomes of a request.
FATES = st.sampled_from(["taken", "lost", "taken, answer lost", "busy", "too large", "rejects first"])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(SESSIONS), st.sampled_from(["event"] * 4 + ["session", "expire"])),
    st.tuples(st.just("send"), FATES, st.integers(0, 3_000)),
    st.tuples(st.just("flush"), st.none(), st.none()),
)


class World:
    """A collector that counts a repeat once, behind a network that does as it is told."""

    def __init__(self, limits: Limits) -> None:
        self.outbox = Outbox(limits, jitter=lambda: 0.5)
        self.now_ms = 0
        self.put: list[Item] = []
        self.refused: list[Undelivered] = []
        self.given_up: list[Undelivered] = []
        self.log: dict[str, list[str]] = defaultdict(list)
        self.sizes: list[tuple[int, int]] = []

    def tell(self, session: str, kind: str) -> None:
        name = f"{len(self.put) + len(self.refused)}"
        item = Item(kind, session, name, name.encode() * 10, self.now_ms)  # type: ignore[arg-type]
        refusal = self.outbox.put(item)
        if refusal is None:
            self.put.append(item)
        else:
            self.refused.append(refusal)

    def send(self, fate: str, elapsed_ms: int) -> None:
        self.now_ms += elapsed_ms
        parcel = self.outbox.take(self.now_ms)
        if parcel is None:
            return
        self.sizes.append((len(parcel.items), sum(len(item.body) + 1 for item in parcel.items)))
        self.given_up += self.outbox.settle(parcel, self._answer(parcel, fate), self.now_ms)

    def _answer(self, parcel: Parcel, fate: str) -> Answer:
        first = parcel.items[0]
        if fate == "lost":
            return Answer(None, error="lost")
        if fate == "busy":
            return Answer(503, {}, 1_000)
        if fate == "too large":
            return Answer(413, {"error": {"code": "oversized"}})
        refused = first if fate == "rejects first" else None
        for item in parcel.items:
            if item is not refused and item.event_id not in self.log[item.session_id]:
                self.log[item.session_id].append(str(item.event_id))
        if fate == "taken, answer lost":
            return Answer(None, error="lost")
        if not parcel.is_batch:
            return Answer(400, {}) if refused else Answer(202)
        results = [{"status": "rejected" if item is refused else "accepted"} for item in parcel.items]
        return Answer(202, {"results": results})


@given(st.lists(STEPS, max_size=60), st.integers(1, 5), st.sampled_from([2_000, 10_000_000]))
def test_each_item_is_logged_once_in_order_or_reported_and_limits_hold(steps, batch: int, budget_ms: int):
    limits = Limits(max_queue_items=12, max_batch_events=batch, flush_interval_ms=500, retry_budget_ms=budget_ms)
    world = World(limits)
    for step, first, second in steps:
        if step == "put":
            world.tell(first, second)
        elif step == "send":
            world.send(first, second)
        else:
            world.outbox.flush()
        assert len(world.outbox) <= limits.max_queue_items
    number = world.outbox.flush()
    while len(world.outbox):
        world.send("taken", 30_000)
    assert world.outbox.done_up_to == number
    assert world.outbox._bytes == 0
    assert all(refusal.code == "queue_full" for refusal in world.refused)
    assert all(count <= batch for count, _ in world.sizes)

    reported = {item.event_id for item in world.given_up}
    certain = {item.event_id for item in world.given_up if not item.may_have_arrived}
    logged = {name for names in world.log.values() for name in names}
    assert logged | reported == {item.event_id for item in world.put}
    assert not logged & certain
    assert world.outbox.delivered + len(world.given_up) == len(world.put)
    for session, names in world.log.items():
        told = [item.event_id for item in world.put if item.session_id == session]
        assert names == [name for name in told if name in logged]
