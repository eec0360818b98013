"""Where records go, and where each batch of them is: the two state machines of delivery. Pure: no IO, no clock.

**The producer's mode** says where new records go. Records of a session keep the order in which they were accepted, so
a change of mode never lets newer records pass older ones.

    mode          new records go to          event          next mode      then
    ------------  -------------------------  -------------  -------------  ---------
    SPILLING      the spill                  LITTLE_LEFT    HANDING_OVER   hold
                                             TROUBLE        SPILLING
    HANDING_OVER  the sender, which sends    NOTHING_LEFT   DIRECT         release
                  nothing yet                TROUBLE        SPILLING       take back
    DIRECT        the sender                 TROUBLE        SPILLING       take back

- LITTLE_LEFT: the drain has sent all but the last few records of the spill. NOTHING_LEFT: it has sent all of them.
- TROUBLE: Kafka does not acknowledge in time or refuses a batch, the sender is full, another process has left a spill
  behind (its records are older), or the collector stops.
- *Take back* puts everything into the spill that the sender holds without an acknowledgement.

A producer begins in SPILLING: the spill of the last run is sent first.

**A batch's state** says where its records are. Its requests are told 202 when they are in Kafka or on disk.

    state             event         next state        then
    ----------------  ------------  ----------------  --------------
    WAITING           HANDED_OVER   SENDING
                      TAKEN_BACK    SPILLING
                      NO_ROOM       FAILED            fail
    SENDING           ACKED         ARRIVED           accept
                      REFUSED       WAITING
                      TAKEN_BACK    SENDING_SPILLING
                      NO_ROOM       SENDING_FAILED    fail
    SPILLING          WRITTEN       SPILLED           accept
                      NOT_WRITTEN   FAILED            fail
    SENDING_SPILLING  ACKED         ARRIVED           accept, forget
                      REFUSED       SPILLING
                      WRITTEN       SENDING_SPILLED   accept
                      NOT_WRITTEN   SENDING_FAILED    fail
    SENDING_SPILLED   ACKED         ARRIVED           forget
                      REFUSED       SPILLED
    SENDING_FAILED    ACKED         ARRIVED
                      REFUSED       FAILED
    ARRIVED           WRITTEN       ARRIVED
                      NOT_WRITTEN   ARRIVED

- HANDED_OVER: the Kafka producer has the batch, and repeats it until its fate is known. REFUSED: the producer has
  broken; the batch is not in Kafka.
- TAKEN_BACK: appended to the spill. NO_ROOM: the spill is full. WRITTEN, NOT_WRITTEN: the disk's answer to the append.
- *Accept* and *fail* tell the requests. *Forget* deletes the records from the spill, because they have arrived.

A batch in SENDING_SPILLED is in both places. Only if the process or the producer ends before Kafka's answer, it is sent
a second time, with the same ``event_id``, and the processor drops the repetition.
"""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final

from tracker.errors import InvariantError


class Mode(IntEnum):
    """Where new records go."""

    SPILLING = auto()
    HANDING_OVER = auto()
    DIRECT = auto()


class ModeEvent(IntEnum):
    """What changes the mode."""

    LITTLE_LEFT = auto()
    NOTHING_LEFT = auto()
    TROUBLE = auto()


class ModeAction(IntEnum):
    """The effects of a change of mode."""

    NONE = auto()
    HOLD = auto()
    RELEASE = auto()
    TAKE_BACK = auto()


MODES: Final[Mapping[tuple[Mode, ModeEvent], tuple[Mode, ModeAction]]] = {
    (Mode.SPILLING, ModeEvent.LITTLE_LEFT): (Mode.HANDING_OVER, ModeAction.HOLD),
    (Mode.SPILLING, ModeEvent.TROUBLE): (Mode.SPILLING, ModeAction.NONE),
    (Mode.HANDING_OVER, ModeEvent.NOTHING_LEFT): (Mode.DIRECT, ModeAction.RELEASE),
    (Mode.HANDING_OVER, ModeEvent.TROUBLE): (Mode.SPILLING, ModeAction.TAKE_BACK),
    (Mode.DIRECT, ModeEvent.TROUBLE): (Mode.SPILLING, ModeAction.TAKE_BACK),
}


class BatchState(IntEnum):
    """Where the records of a batch are."""

    WAITING = auto()
    SENDING = auto()
    SPILLING = auto()
    SENDING_SPILLING = auto()
    SENDING_SPILLED = auto()
    SENDING_FAILED = auto()
    ARRIVED = auto()
    SPILLED = auto()
    FAILED = auto()


class BatchEvent(IntEnum):
    """What happens to a batch."""

    HANDED_OVER = auto()
    ACKED = auto()
    REFUSED = auto()
    TAKEN_BACK = auto()
    NO_ROOM = auto()
    WRITTEN = auto()
    NOT_WRITTEN = auto()


class BatchAction(IntEnum):
    """What a batch does when its state changes."""

    NONE = auto()
    ACCEPT = auto()
    FAIL = auto()
    FORGET = auto()
    ACCEPT_AND_FORGET = auto()


_S, _E, _A = BatchState, BatchEvent, BatchAction
BATCHES: Final[Mapping[tuple[BatchState, BatchEvent], tuple[BatchState, BatchAction]]] = {
    (_S.WAITING, _E.HANDED_OVER): (_S.SENDING, _A.NONE),
    (_S.WAITING, _E.TAKEN_BACK): (_S.SPILLING, _A.NONE),
    (_S.WAITING, _E.NO_ROOM): (_S.FAILED, _A.FAIL),
    (_S.SENDING, _E.ACKED): (_S.ARRIVED, _A.ACCEPT),
    (_S.SENDING, _E.REFUSED): (_S.WAITING, _A.NONE),
    (_S.SENDING, _E.TAKEN_BACK): (_S.SENDING_SPILLING, _A.NONE),
    (_S.SENDING, _E.NO_ROOM): (_S.SENDING_FAILED, _A.FAIL),
    (_S.SPILLING, _E.WRITTEN): (_S.SPILLED, _A.ACCEPT),
    (_S.SPILLING, _E.NOT_WRITTEN): (_S.FAILED, _A.FAIL),
    (_S.SENDING_SPILLING, _E.ACKED): (_S.ARRIVED, _A.ACCEPT_AND_FORGET),
    (_S.SENDING_SPILLING, _E.REFUSED): (_S.SPILLING, _A.NONE),
    (_S.SENDING_SPILLING, _E.WRITTEN): (_S.SENDING_SPILLED, _A.ACCEPT),
    (_S.SENDING_SPILLING, _E.NOT_WRITTEN): (_S.SENDING_FAILED, _A.FAIL),
    (_S.SENDING_SPILLED, _E.ACKED): (_S.ARRIVED, _A.FORGET),
    (_S.SENDING_SPILLED, _E.REFUSED): (_S.SPILLED, _A.NONE),
    (_S.SENDING_FAILED, _E.ACKED): (_S.ARRIVED, _A.NONE),
    (_S.SENDING_FAILED, _E.REFUSED): (_S.FAILED, _A.NONE),
    (_S.ARRIVED, _E.WRITTEN): (_S.ARRIVED, _A.NONE),
    (_S.ARRIVED, _E.NOT_WRITTEN): (_S.ARRIVED, _A.NONE),
}


def next_mode(mode: Mode, event: ModeEvent) -> tuple[Mode, ModeAction]:
    """Return the mode after an event, and the effects to carry out.

    Raises:
        InvariantError: the event can't happen in this mode.
    """
    try:
        return MODES[mode, event]
    except KeyError:
        raise InvariantError(f"{event.name} in mode {mode.name}") from None


def next_batch_state(state: BatchState, event: BatchEvent) -> tuple[BatchState, BatchAction]:
    """Return a batch's state after an event, and the effects to carry out.

    Raises:
        InvariantError: the event can't happen to a batch in this state.
    """
    try:
        return BATCHES[state, event]
    except KeyError:
        raise InvariantError(f"{event.name} for a batch that is {state.name}") from None
