"""librdkafka's log lines in Python's logging, under `streamq.kafka`, and what they say about the connection."""

from __future__ import annotations

import logging
from typing import Final

logger = logging.getLogger("streamq.kafka")

# What librdkafka says each time that it tries to connect in vain. Who waits for the broker says so once.
_CONNECTION: Final = frozenset({"FAIL", "ERROR", "REQTMOUT", "CONNECT", "DISCONNECTED", "TIMEOUT"})


class LibrdkafkaLog:
    """Stands where librdkafka's binding wants a logger. Its lines are for who looks for a cause: none is above a
    warning, since what has a consequence comes as an error, too."""

    def log(self, level: int, message: str, *details: object) -> None:
        """One line: the binding gives facility, client and text."""
        if details and details[0] in _CONNECTION:
            level = logging.DEBUG
        logger.log(min(level, logging.WARNING), message, *details, extra={"event": "librdkafka"})
