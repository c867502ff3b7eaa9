"""From Kafka's error codes to errors typed by the reaction they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from streamq.kafka.settings import is_secret
from streamq.model.errors import (
    BrokerError,
    ConfigError,
    FatalBrokerError,
    FencedError,
    OutcomeUnknownError,
    RecordTooLargeError,
    RetriableError,
    StaleMemberError,
)

_STALE: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._MAX_POLL_EXCEEDED,
    }
)
_FENCED: Final = frozenset(
    {
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.UNRELEASED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError._FENCED,
    }
)
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# No answer: whether it happened is known only where it cannot have. (A message that was purged in flight was sent.)
_UNANSWERED: Final = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._DESTROY,
        KafkaError._PURGE_INFLIGHT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)
# What passes by itself: connections, elections, a coordinator that loads. Credentials are here, too, for those who are
# connected already: the client goes on trying, and a broker's side of them can be mended. A start finds them wrong by
# its questions to the cluster, which say so and end it.
_RETRIABLE: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._QUEUE_FULL,
        KafkaError._STATE,
        KafkaError._IN_PROGRESS,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError._PURGE_QUEUE,
        KafkaError._NO_OFFSET,
        KafkaError._BAD_MSG,
        KafkaError._FAIL,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._LOG_TRUNCATION,
        KafkaError._NOENT,  # no leader is known: of a topic that is not there, or not there yet
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.REBOOTSTRAP_REQUIRED,
    }
)

_REMEDIES: Final[Mapping[int, str]] = {
    KafkaError._ALL_BROKERS_DOWN: "check that the brokers run and that bootstrap_servers names them",
    KafkaError._TRANSPORT: "check that the brokers run and that bootstrap_servers names them",
    KafkaError._TIMED_OUT: "check that the brokers run and that bootstrap_servers names them",
    KafkaError._RESOLVE: "check the host names in bootstrap_servers and in the brokers' advertised.listeners",
    KafkaError._AUTHENTICATION: "check security.protocol and the sasl.* settings",
    KafkaError._SSL: "check security.protocol and the ssl.* settings",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check security.protocol and the sasl.* settings",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this client's principal the right to the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this client's principal READ on the group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant this client's principal the right to the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "grant this client's principal WRITE on the transactional id",
    KafkaError.MSG_SIZE_TOO_LARGE: "raise max.message.bytes of the topic, or publish a smaller record",
    KafkaError._QUEUE_FULL: "wait for deliveries and do it again",
    KafkaError.FENCED_INSTANCE_ID: "another process runs with this static identity: give each its own",
    KafkaError.UNRELEASED_INSTANCE_ID: "another process runs with this static identity: give each its own",
    KafkaError.INVALID_REPLICATION_FACTOR: "choose a replication factor of at most the number of brokers",
    KafkaError.GROUP_MAX_SIZE_REACHED: "run fewer workers, or raise the brokers' group.max.size",
    KafkaError.UNSUPPORTED_VERSION: "use brokers that know this, or another group protocol",
    KafkaError.NON_EMPTY_GROUP: "stop the group's workers first",
}


def to_error(error: KafkaError, what: str, *, may_have_happened: bool = False) -> BrokerError:
    """The typed error; `what` says what was tried. `may_have_happened`: without an answer its outcome is open."""
    error = _cause(error)
    code = error.code()
    kind = _kind(code, may_have_happened=may_have_happened)
    if kind is RetriableError and error.fatal():
        kind = FatalBrokerError
    remedy = _REMEDIES.get(code)
    return kind(f"{what}: {error.str()} ({error.name()})" + (f": {remedy}" if remedy else ""), code=error.name())


def _cause(error: KafkaError) -> KafkaError:
    """A consumer that cannot go on says "fatal error" and tells the cause in words only, those of its code."""
    if error.code() == KafkaError._FATAL:
        for code in _FENCED:
            if KafkaError(code).str() in error.str():
                return KafkaError(code, error.str(), True)
    return error


def from_exception(error: KafkaException, what: str, *, may_have_happened: bool = False) -> BrokerError:
    """Likewise, from what the client raises."""
    return to_error(error.args[0], what, may_have_happened=may_have_happened)


def config_error(error: Exception, settings: Mapping[str, object]) -> ConfigError:
    """librdkafka does not know a setting, or does not take its value; the binding's words name it."""
    first = error.args[0] if error.args else error
    reason = first.str() if isinstance(first, KafkaError) else str(first)
    for name, value in settings.items():
        if is_secret(name) and str(value):
            reason = reason.replace(str(value), "***")
    return ConfigError(f"kafka settings are not usable: {reason}: mend or remove it (librdkafka's CONFIGURATION.md)")


def _kind(code: int, *, may_have_happened: bool) -> type[BrokerError]:
    if code in _TOO_LARGE:
        return RecordTooLargeError
    if code in _STALE:
        return StaleMemberError
    if code in _FENCED:
        return FencedError
    if code in _UNANSWERED:
        return OutcomeUnknownError if may_have_happened else RetriableError
    return RetriableError if code in _RETRIABLE else FatalBrokerError
