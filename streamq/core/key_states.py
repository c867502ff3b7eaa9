"""What holds for a key while it is parked, in the owner's words."""

from __future__ import annotations

from typing import Literal, NamedTuple

from streamq.core.journal_records import KeyState
from streamq.core.lanes import Work
from streamq.model.outcomes import Dead

OnDead = Literal["skip", "chain", "hold"]


class Standing(NamedTuple):
    """What holds for a key, and where the journal says so."""

    state: KeyState
    place: int


class GivenUp(NamedTuple):
    """The head of a lane, whose dead letter is to be written."""

    work: Work
    dead: Dead


class Leaving(NamedTuple):
    """A failed head that waits: in its lane until `due_at` (monotonic), or from there on in the journal."""

    due_at: float
    next_at_ms: int
