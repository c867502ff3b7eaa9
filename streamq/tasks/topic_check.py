"""The first publish to a topic: is it there, and may it be created? A typo never makes a topic, and the broker's
auto-creation never decides its partition count."""

from __future__ import annotations

import logging
from typing import Final

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import PublishError, RetriableError, TopicConfigError
from streamq.model.ports import AdminPort, Clients
from streamq.model.records import TopicSpec

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 5.0
"""Seconds for one request; a new one may find a broker that is back."""

PAUSE_S: Final = 0.1


def ensure_topic(clients: Clients, spec: TopicSpec, *, create: bool, deadline: Deadline, clock: Clock) -> None:
    """See that a topic exists; create it as declared if `create`. Blocks, at most until the deadline.

    Raises:
        TopicConfigError: it does not exist and `create` is False; the message has the command.
        PublishError: nobody answered in time.
        FatalBrokerError: no right to ask or to create, a setting that the broker does not take.
    """
    admin = clients.admin()
    try:
        while True:
            try:
                _ensure_once(admin, clients, spec, create, min(CALL_TIMEOUT_S, deadline.remaining_s()))
            except RetriableError as error:
                if deadline.expired():
                    raise PublishError(
                        f"topic {spec.name}: not published, because {clients.description} did not answer in time "
                        f"({error}): check bootstrap_servers and that the brokers can be reached"
                    ) from error
            else:
                return
            clock.sleep(min(PAUSE_S, deadline.remaining_s()))
    finally:
        admin.close()


def _ensure_once(admin: AdminPort, clients: Clients, spec: TopicSpec, create: bool, timeout_s: float) -> None:
    if admin.describe_topics([spec.name], timeout_s)[spec.name] is not None:
        return
    if not create:
        raise TopicConfigError(missing_topic(spec, clients.description))
    if admin.create_topic(spec, timeout_s):
        logger.info(
            "Created a topic that is published to for the first time",
            extra={"event": "topic.created", "topic": spec.name, "partitions": spec.partitions},
        )


def missing_topic(spec: TopicSpec, brokers: str) -> str:
    """The message for a topic that is not there and may not be created."""
    options = "".join(f" --config {name}={value}" for name, value in spec.config.items())
    factor = "" if spec.replication_factor is None else f" --replication-factor {spec.replication_factor}"
    return (
        f"topic {spec.name} does not exist on {brokers}, and create_topics=False forbids to create it: run "
        f"`kafka-topics.sh --bootstrap-server {brokers} --create --topic {spec.name} --partitions {spec.partitions}"
        f"{factor}{options}`, or `streamq topics create <module>:<app>`"
    )
