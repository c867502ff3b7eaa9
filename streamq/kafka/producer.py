"""An idempotent producer over librdkafka's."""

from __future__ import annotations

import logging
import threading
from typing import cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamq.kafka.errors import from_exception, to_error
from streamq.kafka.settings import Settings
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import ConfigError, FatalBrokerError, RetriableError
from streamq.model.ports import DeliveryCallback
from streamq.model.records import Delivery, Offset, OutgoingRecord

_log = logging.getLogger("streamq.kafka")
_ANY_PARTITION = -1
_POLL_S = 0.1


class KafkaProducer:
    """See `ProducerPort`. One daemon thread serves delivery reports."""

    def __init__(self, settings: Settings) -> None:
        try:
            self._producer = Producer({**settings, "error_cb": self._on_error}, logger=_log)
        except (KafkaException, ValueError, TypeError) as error:
            first = error.args[0] if error.args else error
            reason = first.str() if isinstance(first, KafkaError) else str(first)
            raise ConfigError(f"kafka settings are not usable: {reason}") from error
        self._closing = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="streamq-producer", daemon=True)
        self._thread.start()

    def produce(self, outgoing: OutgoingRecord, on_delivery: DeliveryCallback) -> None:
        """Hand one record over."""
        if self._closed:
            raise FatalBrokerError(f"producing to {outgoing.topic}: this producer is closed")

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                on_delivery(to_error(error, f"producing to {outgoing.topic}", may_have_happened=True))
            else:
                on_delivery(
                    Delivery(
                        outgoing.topic,
                        cast("int", message.partition()),
                        Offset(cast("int", message.offset())),
                        message.timestamp()[1],
                    )
                )

        try:
            self._producer.produce(
                outgoing.topic,
                outgoing.value,
                outgoing.key,
                _ANY_PARTITION if outgoing.partition is None else outgoing.partition,
                report,
                timestamp=outgoing.timestamp_ms or 0,
                headers=list(outgoing.headers),
            )
        except BufferError:
            raise RetriableError("the producer's buffer is full: wait for deliveries", code="_QUEUE_FULL") from None
        except KafkaException as error:
            raise from_exception(error, f"producing to {outgoing.topic}") from error

    def flush(self, timeout_s: float) -> int:
        """Wait until all is delivered."""
        return self._producer.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Flush, then stop the thread."""
        if self._closed:
            return
        self._closed = True
        deadline = Deadline(SystemClock(), timeout_s)
        self._producer.flush(timeout_s)
        self._closing.set()
        self._thread.join(max(_POLL_S * 2, deadline.remaining_s()))

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)

    @staticmethod
    def _on_error(error: KafkaError) -> None:
        """Each record's own report says what became of it; the log has the rest."""
        _log.debug("producer: %s", error.str(), extra={"event": "producer_error"})
