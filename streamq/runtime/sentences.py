"""Sentences of the owner that more than one step says."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from streamq.core.lanes import Work
from streamq.model.records import TopicPartition

logger = logging.getLogger(__name__)


def tell_partitions(group: str, sentence: str, partitions: Sequence[TopicPartition]) -> None:
    """What happens to these partitions of a group."""
    logger.info(
        sentence,
        extra={
            "event": "rebalance",
            "group": group,
            "partitions": sorted(partition.partition for partition in partitions),
        },
    )


def tell_lost(group: str, partitions: Sequence[TopicPartition], running: int) -> None:
    """These partitions are another's by now."""
    logger.warning(
        "Partitions are lost: their new owner repeats what was not committed",
        extra={
            "event": "lost",
            "group": group,
            "partitions": sorted(partition.partition for partition in partitions),
            "running": running,
        },
    )


def tell_running(group: str, work: Work, sentence: str, running_s: float | None) -> None:
    """Which record a handler still runs for, so that an operator can find it."""
    record = work.record
    logger.warning(
        sentence,
        extra={
            "event": "handler_running",
            "group": group,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": None if record.key is None else record.key.decode("utf-8", "backslashreplace"),
            "running_s": None if running_s is None else round(running_s, 1),
        },
    )
