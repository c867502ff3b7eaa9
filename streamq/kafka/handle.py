"""The life of librdkafka's admin client.

A question to a group's coordinator must not time out inside librdkafka (2.16): one that does while the coordinator is
not known yet ends the process by a failed assertion as soon as a broker is back (`rd_kafka_enq_once_del_source_return`,
librdkafka issue 4605). So these questions get no time-out there. One that is given up here ends its client, which
forgets it, and a new client takes over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streamq.kafka.answers import settle
from streamq.kafka.errors import config_error, from_exception, to_error
from streamq.kafka.logs import LibrdkafkaLog
from streamq.kafka.settings import Settings
from streamq.model.errors import BrokerError, FatalBrokerError

T = TypeVar("T")

NO_TIMEOUT_S: Final = 3600.0
"""The longest that librdkafka takes: long after a question is given up here."""
_CREDENTIALS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})


class AdminHandle:
    """Thread-safe; `ask` blocks nobody but for the making of a client, some milliseconds.

    Raises (made):
        ConfigError: a setting that librdkafka does not know or take.
    """

    def __init__(self, settings: Settings, description: str) -> None:
        self._settings = settings
        self._description = description
        self._connection_error: KafkaError | None = None
        self._lock = threading.Lock()
        self._client = self._made()
        self._open: dict[int, Callable[[], None]] = {}

    def _made(self) -> AdminClient:
        settings: dict[str, object] = {**self._settings, "error_cb": self._note}
        try:
            return AdminClient(settings, logger=LibrdkafkaLog())  # type: ignore[arg-type]  # the stub knows no callbacks
        except (KafkaException, ValueError, TypeError) as error:
            raise config_error(error, self._settings) from error

    @property
    def client(self) -> AdminClient:
        """For what does not answer by a future. RuntimeError is raised where the client ends meanwhile."""
        with self._lock:
            return self._client

    def ask(self, question: Callable[[AdminClient], Future[T]], give_up_s: float | None = None) -> Future[T]:
        """The answer to a question, which must not block. TimeoutError is set where it is given up, after `give_up_s`
        or because the client ended for another's sake."""
        answer: Future[T] = Future()
        number = id(answer)
        with self._lock:
            client = self._client
            self._open[number] = partial(settle, answer, error=TimeoutError())
            asked = question(client)
        answer.add_done_callback(lambda _: self._open.pop(number, None))

        def take(done: Future[T]) -> None:
            error = done.exception()
            if error is not None:
                settle(answer, error=error)
            else:
                settle(answer, done.result())

        asked.add_done_callback(take)
        if give_up_s is not None:
            timer = threading.Timer(give_up_s, self._give_up, (client,))
            timer.daemon = True
            timer.start()
            answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def _give_up(self, client: AdminClient) -> None:
        with self._lock:
            if client is not self._client:
                return
            self._client = self._made()
            forgotten, self._open = self._open, {}
        self._end(client, forgotten)

    def close(self) -> None:
        """End the client; what is still asked gets no answer. Idempotent."""
        with self._lock:
            client, forgotten, self._open = self._client, self._open, {}
        self._end(client, forgotten)

    @staticmethod
    def _end(client: AdminClient, forgotten: Mapping[int, Callable[[], None]]) -> None:
        """Without the lock: this waits for the client's thread, which may be completing an answer, whose taker may be
        asking the next question."""
        client.__exit__(None, None, None)
        for give_up in forgotten.values():
            give_up()

    def answer(
        self,
        question: Callable[[AdminClient], Future[T]],
        timeout_s: float,
        what: str,
        *,
        may_have_happened: bool = False,
        give_up: bool = False,
    ) -> T:
        """Wait for an answer. librdkafka gives up after the question's own time-out, which leaves it the time to say
        why; `give_up` is for questions to a group's coordinator, which have none.

        Raises:
            BrokerError: by its reaction.
        """
        asked = self.ask(question, timeout_s if give_up else None)
        try:
            return asked.result(timeout_s + 1.0)
        except KafkaException as error:
            raise self.typed(error, what, may_have_happened=may_have_happened) from error
        except TimeoutError as error:
            silent = KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer within {timeout_s:g} s"))
            raise self.typed(silent, what, may_have_happened=may_have_happened) from error

    def typed(self, error: KafkaException, what: str, *, may_have_happened: bool = False) -> BrokerError:
        """The error, with what the client last said of its connection. Wrong credentials are told from brokers that
        are away: nobody needs to wait for those."""
        seen = self._last_seen()
        where = f"{what} at {self._description}"
        if seen is None:
            return from_exception(error, where, may_have_happened=may_have_happened)
        if seen.code() in _CREDENTIALS:
            return FatalBrokerError(str(to_error(seen, where)), code=seen.name())
        return from_exception(error, f"{where} ({seen.str()})", may_have_happened=may_have_happened)

    def _last_seen(self) -> KafkaError | None:
        with suppress(RuntimeError):  # the client ended meanwhile: it has nothing to say any more
            self.client.poll(0)  # calls `_note` for what has piled up since the last question that failed
        seen, self._connection_error = self._connection_error, None
        return seen

    def _note(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`. That all brokers are down says less than what it says of one."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._connection_error = error
