"""What a handler is told beside the value, and how it publishes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

from streamq.model.errors import PublishError, RetriableError, SerdeError, StreamqError
from streamq.model.records import Record
from streamq.tasks.publication import Publication
from streamq.tasks.publisher import HeadersLike, Publishing
from streamq.tasks.topic import AnyTopic, K, Topic, V


class Binding(NamedTuple):
    """What all attempts of one processor have in common."""

    processor: str
    group: str
    topic: AnyTopic
    publisher: Publishing
    is_replay: bool


class Context:
    """One attempt at one record. Made for the attempt and over with it; a handler must not keep it."""

    __slots__ = (
        "_binding", "_failed_publish", "_logger", "_no_fault", "_over", "_publications", "attempt", "record",
    )  # fmt: skip

    def __init__(self, binding: Binding, record: Record, attempt: int) -> None:
        self.record = record
        """The record as it stands in its topic: key and value as bytes, headers, timestamp, coordinates."""
        self.attempt = attempt
        """The number of this attempt, from 1."""
        self._binding = binding
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None
        # Read by whoever runs the attempt, to tell what it came to.
        self._publications: list[Publication] | None = None
        self._failed_publish: StreamqError | None = None
        self._no_fault: SerdeError | RetriableError | None = None
        self._over = False

    @property
    def processor(self) -> str:
        """The processor's name."""
        return self._binding.processor

    @property
    def is_replay(self) -> bool:
        """Whether this is a replay of records that were processed before, in a group of its own."""
        return self._binding.is_replay

    @property
    def key(self) -> object:
        """The record's key, of the topic's key type; None for a record without a key.

        Raises:
            SerdeError: these bytes are no such key. Left alone, it makes the record a dead letter (`undecodable`).
        """
        data = self.record.key
        if data is None:
            return None
        try:
            return self._binding.topic.key_serde.decode(data, topic=self.record.topic)
        except (SerdeError, RetriableError) as error:
            self._no_fault = error
            raise

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the record's topic, partition, offset and key, and the attempt, as fields."""
        if self._logger is None:
            self._logger = _RecordLogger(logging.getLogger(f"streamq.handler.{self._binding.group}"), self._fields())
        return self._logger

    def publish(
        self,
        topic: Topic[K, V] | str,
        value: V,
        *,
        key: K | None = None,
        headers: HeadersLike | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
    ) -> Publication:
        """Publish a record as a part of this attempt: the record at hand counts as done only when everything published
        here is confirmed, whether the handler waits for it or not. A failure, caught or not, makes the attempt fail, so
        after a retry the same may be published twice. Arguments as of `App.publish`. Never blocks an event loop.

        Raises:
            SerdeError: the value or key is not of the topic's type.
            ConfigError: the topic is not declared.
            PublishError: no room within the app's `publish_timeout_s`, or the attempt is over.
        """
        if self._over:
            raise PublishError(
                f"attempt {self.attempt} at {self.record.topic}[{self.record.partition}] offset {self.record.offset} "
                "is over: publish before the handler returns, or with app.publish"
            )
        try:
            publication = self._binding.publisher.publish(
                topic, value, key=key, headers=headers, timestamp=timestamp, partition=partition
            )
        except StreamqError as error:
            self._failed_publish = error
            if isinstance(error, RetriableError):
                self._no_fault = error
            raise
        if self._publications is None:
            self._publications = [publication]
        else:
            self._publications.append(publication)
        return publication

    def _fields(self) -> dict[str, object]:
        record = self.record
        key = None if record.key is None else record.key.decode("utf-8", "backslashreplace")
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": key,
            "attempt": self.attempt,
        }


class _RecordLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the record's fields to those of the call; the standard adapter drops the call's."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Merge both."""
        given = kwargs.get("extra")
        kwargs["extra"] = {**(self.extra or {}), **(given if isinstance(given, Mapping) else {})}
        return msg, kwargs
