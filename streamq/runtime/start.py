"""Where a new group begins: resolved once, for all partitions at once, and committed before anybody reads."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import datetime
from typing import TypeVar

from streamq.config import Start
from streamq.model.errors import RetriableError, StaleMemberError
from streamq.model.ports import AdminPort
from streamq.model.records import AtTime, CommitPoint, Earliest, Latest, OffsetSpec, TopicPartition

logger = logging.getLogger(__name__)
T = TypeVar("T")


def await_answer(answer: Future[T], timeout_s: float, what: str) -> T:
    """Block for an answer at most `timeout_s`.

    Raises:
        RetriableError: none came; `what` says of what.
        BrokerError: what the broker answered.
    """
    try:
        return answer.result(timeout_s)
    except FutureTimeoutError:
        raise RetriableError(f"no answer about {what} within {timeout_s:g} s") from None


def begin_group(admin: AdminPort, group: str, topic: str, partitions: int, start: Start, timeout_s: float) -> bool:
    """Commit the start of a group that has no offsets yet, before its first member joins. Whether that was needed.

    A partition that appears later has no committed offset in a group that has begun, and so is read from its beginning:
    `start` never skips what was produced after the group began. Two workers that begin at once commit the same moment's
    offsets twice; neither has read anything by then, since a group with members refuses (KIP-211's rule for a commit
    without a membership).

    Raises:
        BrokerError: the broker cannot be asked; nothing was started.
    """
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    committed = await_answer(admin.group_offsets(group, wanted), timeout_s, f"the offsets of group {group}")
    if len(committed) < len(wanted) or any(point is not None for point in committed.values()):
        return False
    spec = _spec(start)
    located = await_answer(
        admin.list_offsets(dict.fromkeys(wanted, spec)), timeout_s, f"the offsets of topic {topic} at start={start}"
    )
    points = {partition: CommitPoint(offset) for partition, offset in located.items()}
    try:
        admin.set_group_offsets(group, points, timeout_s)
    except StaleMemberError:
        return False  # another worker of the group was quicker, and has joined
    logger.info(
        "A new group begins: its start is committed",
        extra={"event": "group_begins", "group": group, "topic": topic, "start": str(start)},
    )
    return True


def _spec(start: Start) -> OffsetSpec:
    if isinstance(start, datetime):
        return AtTime(int(start.timestamp() * 1000))
    return Earliest() if start == "earliest" else Latest()
