"""An idempotent producer over librdkafka's."""

from __future__ import annotations

import threading
from functools import partial
from typing import Final, Protocol, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamq.kafka.errors import config_error, to_error
from streamq.kafka.logs import LibrdkafkaLog, logger
from streamq.kafka.settings import Settings
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import BrokerError, FatalBrokerError, RecordTooLargeError, RetriableError
from streamq.model.ports import DeliveryCallback
from streamq.model.records import Delivery, Offset, OutgoingRecord

_ANY_PARTITION: Final = -1
_POLL_S: Final = 0.1
_PURGE_S: Final = 1.0
_REFRESH_S: Final = 1.0


class _Delivered(Protocol):
    """A message as a delivery report gives it."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> Offset: ...
    def timestamp(self) -> tuple[int, int]: ...


class KafkaProducer:
    """See `ProducerPort`. One daemon thread, "streamq-producer", serves all delivery reports; callbacks run on it
    alone. It belongs to the process that made it: after a fork it has no thread."""

    def __init__(self, settings: Settings, description: str) -> None:
        self._description = description
        self._most_bytes = int(str(settings["queue.buffering.max.kbytes"])) * 1024
        try:
            self._producer = Producer({**settings, "error_cb": self._on_error}, logger=LibrdkafkaLog())
        except (KafkaException, ValueError, TypeError) as error:
            raise config_error(error, settings) from error
        self._fatal: BrokerError | None = None
        self._grown: set[str] = set()
        self._closed = False
        self._stopping = False
        self._reported = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="streamq-producer", daemon=True)
        self._thread.start()

    def produce(self, outgoing: OutgoingRecord, on_delivery: DeliveryCallback) -> None:
        """Hand one record over."""
        if self._closed or self._fatal is not None:
            raise self._fatal or FatalBrokerError(f"producing to {outgoing.topic}: this producer is closed")
        try:
            self._producer.produce(
                outgoing.topic,
                outgoing.value,
                outgoing.key,
                _ANY_PARTITION if outgoing.partition is None else outgoing.partition,
                partial(_report, on_delivery, outgoing),
                timestamp=outgoing.timestamp_ms or 0,
                headers=list(outgoing.headers),
            )
        except BufferError:
            raise self._full(outgoing) from None
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:
                self._grown.add(outgoing.topic)
            raise _refused(error.args[0], outgoing) from error

    def _full(self, outgoing: OutgoingRecord) -> BrokerError:
        size = len(outgoing.value or b"") + len(outgoing.key or b"")
        if size >= self._most_bytes:
            return RecordTooLargeError(
                f"producing to {outgoing.topic}: a record of {size} bytes is larger than the producer's buffer of "
                f"{self._most_bytes}: raise the setting queue.buffering.max.kbytes, or publish a smaller record",
                code="MSG_SIZE_TOO_LARGE",
            )
        return RetriableError(
            f"producing to {outgoing.topic}: the producer's buffer is full ({len(self._producer)} records wait for "
            f"{self._description}): wait for deliveries and do it again",
            code="_QUEUE_FULL",
        )

    def flush(self, timeout_s: float) -> int:
        """Wait until all is delivered. The thread goes on serving the reports; this one only waits for it."""
        with self._reported:
            self._reported.wait_for(lambda: not len(self._producer) or not self._thread.is_alive(), timeout_s)
        return len(self._producer)

    def close(self, timeout_s: float) -> None:
        """Flush, then stop the thread. What is undecided then is given up and reported: unsent, or of unknown
        outcome."""
        if self._closed:
            return
        self._closed = True
        deadline = Deadline(SystemClock(), timeout_s)
        if self.flush(timeout_s):
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            self.flush(_PURGE_S)
        self._stopping = True
        self._thread.join(deadline.remaining_s() + 2 * _POLL_S)

    def _serve(self) -> None:
        try:
            while not self._stopping:
                if self._producer.poll(_POLL_S):
                    with self._reported:
                        self._reported.notify_all()
                while self._grown:
                    self._look_again(self._grown.pop())
        finally:
            # A callback that raises ends the thread, against its contract: nobody may wait for reports any more.
            self._closed = True
            with self._reported:
                self._reported.notify_all()

    def _look_again(self, topic: str) -> None:
        """A partition was refused that the client does not know: the topic may have grown. Who repeats finds out."""
        try:
            self._producer.list_topics(topic, timeout=_REFRESH_S)
        except KafkaException as error:
            self._on_error(error.args[0])

    def _on_error(self, error: KafkaError) -> None:
        """Each record's own report says what became of it; only what ends the client ends it here."""
        if error.fatal():
            self._fatal = to_error(error, f"producing to {self._description}")
        logger.debug("The producer reports: %s", error.str(), extra={"event": "producer_error", "code": error.name()})


def _report(on_delivery: DeliveryCallback, outgoing: OutgoingRecord, error: KafkaError | None, found: Message) -> None:
    if error is not None:
        on_delivery(_refused(error, outgoing))
        return
    message = cast("_Delivered", found)
    on_delivery(Delivery(outgoing.topic, message.partition(), message.offset(), message.timestamp()[1]))


def _refused(error: KafkaError, outgoing: OutgoingRecord) -> BrokerError:
    match error.code():
        case KafkaError._UNKNOWN_TOPIC | KafkaError.UNKNOWN_TOPIC_OR_PART:
            return RetriableError(
                f"producing to {outgoing.topic}: the topic does not exist (yet): create it, for instance with "
                "`streamq topics create`",
                code="UNKNOWN_TOPIC_OR_PART",
            )
        case KafkaError._UNKNOWN_PARTITION:
            return FatalBrokerError(
                f"producing to {outgoing.topic}: it has no partition {outgoing.partition}: choose one that it has, or "
                "let the key decide",
                code="_UNKNOWN_PARTITION",
            )
        case _:
            return to_error(error, f"producing to {outgoing.topic}", may_have_happened=True)
