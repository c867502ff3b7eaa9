"""From Kafka's error codes to errors typed by the reaction they need."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from streamq.model.errors import (
    BrokerError,
    FatalBrokerError,
    FencedError,
    OutcomeUnknownError,
    RecordTooLargeError,
    RetriableError,
    StaleMemberError,
)

_STALE = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError._ASSIGNMENT_LOST,
    }
)
_FENCED = frozenset(
    {
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError._FENCED,
    }
)
_UNKNOWN_OUTCOME = frozenset({KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT, KafkaError.REQUEST_TIMED_OUT})
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# What passes by itself: connections, elections, a coordinator that loads.
_RETRIABLE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._QUEUE_FULL,
        KafkaError._STATE,
        KafkaError._IN_PROGRESS,
        KafkaError._DESTROY,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._NO_OFFSET,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
_NAMES = {code: name for name, code in vars(KafkaError).items() if isinstance(code, int)}


def code_name(code: int) -> str:
    """Kafka's own name of an error code."""
    return _NAMES.get(code, str(code))


def to_error(error: KafkaError, what: str, *, may_have_happened: bool = False) -> BrokerError:
    """The typed error; `what` says what was tried. `may_have_happened`: a time-out of it leaves its outcome open."""
    code = error.code()
    kind = _kind(code, may_have_happened=may_have_happened)
    if kind is RetriableError and error.fatal():
        kind = FatalBrokerError
    return kind(f"{what}: {error.str()} ({code_name(code)})", code=code_name(code))


def from_exception(error: KafkaException, what: str, *, may_have_happened: bool = False) -> BrokerError:
    """Likewise, from what the client raises."""
    return to_error(error.args[0], what, may_have_happened=may_have_happened)


def _kind(code: int, *, may_have_happened: bool) -> type[BrokerError]:
    if code in _TOO_LARGE:
        return RecordTooLargeError
    if code in _STALE:
        return StaleMemberError
    if code in _FENCED:
        return FencedError
    if code in _UNKNOWN_OUTCOME:
        return OutcomeUnknownError if may_have_happened else RetriableError
    return RetriableError if code in _RETRIABLE else FatalBrokerError
