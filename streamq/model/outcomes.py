"""What an attempt came to: a closed union. Whoever matches on it names every case."""

from __future__ import annotations

from typing import Literal, NamedTuple

DeadReason = Literal["rejected", "attempts", "undecodable", "tombstone", "crash"]
"""Why a record was given up: `sq.Reject`; attempts used up; bytes that do not decode; a tombstone that the handler's
annotation does not allow; a record that kept killing its process."""

MESSAGE_CHARS = 1_000
STACK_CHARS = 4_000


class Failure(NamedTuple):
    """An exception as it is kept: type, message and stack, each capped."""

    error_type: str
    message: str
    stack: str = ""

    @classmethod
    def of(cls, error_type: str, message: str, stack: str = "") -> Failure:
        """Cap the texts; of a stack the end is kept, where the cause stands."""
        return cls(error_type, message[:MESSAGE_CHARS], stack[-STACK_CHARS:])


class Done(NamedTuple):
    """The handler finished and what it published is confirmed."""


class Retry(NamedTuple):
    """The attempt failed. `delay_s` overrides the policy's backoff; `counts=False` for what is no fault of the
    record (the schema registry is away, a drain cut it short)."""

    failure: Failure
    delay_s: float | None = None
    counts: bool = True


class Dead(NamedTuple):
    """The record is given up at once."""

    reason: DeadReason
    failure: Failure


Outcome = Done | Retry | Dead
DONE = Done()
