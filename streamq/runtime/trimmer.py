"""temporary"""

from __future__ import annotations
from collections.abc import Mapping
from streamq.model.ports import AdminPort
from streamq.model.records import NextOffset, TopicPartition


class Trimmer:
    def __init__(self, admin: AdminPort) -> None:
        self._admin = admin

    def advance(
        self, now: float, points: Mapping[TopicPartition, tuple[NextOffset, NextOffset]]
    ) -> Mapping[TopicPartition, NextOffset]:
        return {}
