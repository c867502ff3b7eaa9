"""temporary"""

from __future__ import annotations
from collections.abc import Callable, Sequence
from streamq.model.ports import ReaderPort
from streamq.model.records import NextOffset, Record, TopicPartition


class InlinePayloadFetcher:
    def __init__(self, make: Callable[[], ReaderPort], name: str) -> None:
        self._make = make
        self._wanted: dict[TopicPartition, set[int]] = {}
        self._reader: ReaderPort | None = None

    def want(self, partition: TopicPartition, places: Sequence[int]) -> None:
        self._wanted.setdefault(partition, set()).update(places)

    def take(self) -> Sequence[tuple[TopicPartition, Record]]:
        found: list[tuple[TopicPartition, Record]] = []
        for partition, places in self._wanted.items():
            if not places:
                continue
            if self._reader is None:
                self._reader = self._make()
            self._reader.assign({partition: NextOffset(min(places))})
            while places:
                polled = self._reader.poll(0.0, 500)
                if not polled.records and not polled.events:
                    break
                for record in polled.records:
                    if int(record.offset) in places:
                        places.discard(int(record.offset))
                        found.append((partition, record))
        return found

    def forget(self, partition: TopicPartition) -> None:
        self._wanted.pop(partition, None)

    def close(self, timeout_s: float) -> None:
        if self._reader is not None:
            self._reader.close()


PayloadFetcher = InlinePayloadFetcher
