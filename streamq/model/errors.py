"""The errors of streamq, typed by the reaction they need.

    StreamqError
    ├── ConfigError              wrong usage or configuration; found before anything starts: mend it and start again
    │   └── TopicConfigError     a topic is missing or is not what the app needs: the message holds the mending command
    ├── SerdeError               bytes that are not what they should be, or a value that its format cannot hold
    ├── BrokerError              what a broker or the client library answered
    │   ├── RetriableError       wait and do it again: the state of things is known and unchanged
    │   ├── OutcomeUnknownError  it may or may not have happened: find out before it is done again
    │   ├── StaleMemberError     the group has moved on: repeat after the next heartbeat, for what is still owned
    │   ├── FencedError          another one took this identity: stop using it
    │   └── FatalBrokerError     repeating does not help (rights, settings, versions): tell the operator
    │       └── RecordTooLargeError  this one record is larger than the broker takes
    ├── JournalError             a retry partition holds what cannot be read, or has lost something: stop its partition
    ├── PublishError             a published record was not confirmed
    ├── CommitError              offsets were not accepted
    ├── HandlerError             what a user's handler raised or how it ended
    └── InvariantError           a bug of streamq: stop before it does harm

A message says three things where they apply: what (field or topic), which value, and what to do.
"""

from __future__ import annotations


class StreamqError(Exception):
    """Root of all errors that streamq raises."""


class ConfigError(StreamqError):
    """Wrong usage or configuration, found before anything starts. Mend what the message names and start again."""


class TopicConfigError(ConfigError):
    """A topic is missing or differs from what the app needs. The message holds the command that mends it."""


class SerdeError(StreamqError):
    """Bytes that cannot be decoded, or a value that cannot be encoded.

    `part` is "key" or "value"; `raw` holds the bytes as they came (None when encoding failed), so that nothing is lost.
    """

    def __init__(self, message: str, *, part: str = "value", raw: bytes | None = None) -> None:
        super().__init__(message)
        self.part = part
        self.raw = raw


class BrokerError(StreamqError):
    """What a broker or the client library answered. `code` is the Kafka error's name, for logs and metrics."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class RetriableError(BrokerError):
    """Nothing happened. Wait and do it again."""


class OutcomeUnknownError(BrokerError):
    """It may or may not have happened (no answer in time). Find out before doing it again."""


class StaleMemberError(BrokerError):
    """The group's generation has moved on (ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH,
    REBALANCE_IN_PROGRESS). Nothing is lost: repeat after the next heartbeat for what is still owned."""


class FencedError(BrokerError):
    """Another process took this identity (producer epoch or static member). Stop using it."""


class FatalBrokerError(BrokerError):
    """Repeating does not help: rights, settings or versions. Tell the operator."""


class RecordTooLargeError(FatalBrokerError):
    """This record is larger than the broker or topic takes (`max.message.bytes`)."""


class JournalError(StreamqError):
    """A retry partition holds a record that cannot be read, or no longer holds what it must. Its source partition
    stops: to go on without that record could lose another one or run it twice."""


class PublishError(StreamqError):
    """A published record was not confirmed. The cause is in `__cause__`; whether it may have been written, too."""


class CommitError(StreamqError):
    """Offsets were not accepted. The records they cover stay unsettled and are done again by the next owner."""


class HandlerError(StreamqError):
    """What a user's handler raised or how it ended (for instance beyond its time-out)."""


class InvariantError(StreamqError):
    """A bug of streamq. The worker stops before it can do harm; what is unsettled is done again after a restart."""
