"""What librdkafka reports beside records: connections that fail, and what ends a client."""

from __future__ import annotations

from confluent_kafka import KafkaError

from streamq.kafka.errors import to_error
from streamq.model.errors import BrokerError, FatalBrokerError, FencedError, RetriableError
from streamq.model.ports import ConsumerEvent, Trouble


class Troubles:
    """Kept from librdkafka's error callback, which polls call, until the end of that poll.

    A connection that fails is reported once, however often librdkafka tries again, until something came through.
    """

    def __init__(self, description: str) -> None:
        self._description = description
        self._found: list[BrokerError] = []
        self._reported = False

    def note(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`. What is not fatal to the client mends itself or is tried again by it."""
        typed = to_error(error, f"connection to {self._description}")
        if isinstance(typed, FatalBrokerError) and not error.fatal() and error.code() not in _RIGHTS:
            typed = RetriableError(str(typed), code=typed.code)
        if isinstance(typed, FencedError | FatalBrokerError):
            self._found.append(typed)
        elif not self._reported:
            self._reported = True
            self._found.append(typed)

    def healthy(self) -> None:
        """Something came through: the next failure is a new one."""
        self._reported = False

    def take(self) -> list[ConsumerEvent]:
        """What was reported since the last call.

        Raises:
            FencedError, FatalBrokerError: the client cannot go on.
        """
        found, self._found = self._found, []
        for error in found:
            if isinstance(error, FencedError | FatalBrokerError):
                raise error
        return [Trouble(error) for error in found]

    def __bool__(self) -> bool:
        return bool(self._found)


_RIGHTS = frozenset({KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED})
