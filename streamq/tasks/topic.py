"""A topic as an app declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from streamq.config import TopicConfig
from streamq.model.records import TopicSpec
from streamq.serde import Serde

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class Topic(Generic[K, V]):
    """One topic: its name, what its keys and values are, and what it is created with where it does not exist yet.
    Made by `App.topic`; one object a name."""

    name: str
    key_type: object
    value_type: object
    key_serde: Serde[K]
    value_serde: Serde[V]
    config: TopicConfig

    @property
    def spec(self) -> TopicSpec:
        """What to create it with."""
        return TopicSpec(self.name, self.config.partitions, self.config.replication_factor, self.config.config)


AnyTopic = Topic[object, object]
"""A topic whose types the place at hand does not care for."""
