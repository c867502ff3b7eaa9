"""streamq: ordered, at-least-once, per key, under failure. Task queue and stream processor for Apache Kafka.

    import streamq as sq

    app = sq.App("shop")
    orders = app.topic("orders", value=Order, partitions=6)

    @app.processor(orders)
    async def charge(order: Order, ctx: sq.Context) -> None: ...

    app.publish(orders, order, key=order.customer)

This is the whole public surface; `streamq.testing` is what one tests handlers with.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from streamq.app import App
from streamq.core.retry import RetryPolicy
from streamq.model.errors import (
    BrokerError,
    ConfigError,
    FatalBrokerError,
    OutcomeUnknownError,
    PublishError,
    RecordTooLargeError,
    RetriableError,
    SerdeError,
    StreamqError,
    TopicConfigError,
)
from streamq.model.records import Delivery, Record
from streamq.serde import Serde
from streamq.tasks.context import Context
from streamq.tasks.publication import Publication
from streamq.tasks.signals import Reject, RetryLater
from streamq.tasks.topic import Topic

if TYPE_CHECKING:
    import streamq.testing as testing

__version__ = "0.1.0"

__all__ = [
    "App",
    "BrokerError",
    "ConfigError",
    "Context",
    "Delivery",
    "FatalBrokerError",
    "OutcomeUnknownError",
    "Publication",
    "PublishError",
    "Record",
    "RecordTooLargeError",
    "Reject",
    "RetriableError",
    "RetryLater",
    "RetryPolicy",
    "Serde",
    "SerdeError",
    "StreamqError",
    "Topic",
    "TopicConfigError",
    "__version__",
    "testing",
]


def __getattr__(name: str) -> ModuleType:
    # Loaded when it is asked for: production code never is.
    if name == "testing":
        return import_module("streamq.testing")
    raise AttributeError(f"module 'streamq' has no attribute {name!r}")
