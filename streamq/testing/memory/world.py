"""What all clients of one in-memory cluster share: the lock, the clock, waiting, and what is due later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from heapq import heappop, heappush
from typing import Final, TypeVar

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import BrokerError, RetriableError
from streamq.testing.clock import ManualClock
from streamq.testing.memory.coordinator import Coordinator
from streamq.testing.memory.faults import HANG, Faults
from streamq.testing.memory.groups import Groups
from streamq.testing.memory.topics import Topics

T = TypeVar("T")
_LONGEST_WAIT_S: Final = 3600.0


class World:
    """One lock guards everything; callbacks are called without it.

    Whoever waits, waits for the next change. With a manual clock nobody waits: the clock moves on to what is due next.
    """

    def __init__(self, clock: Clock, session_timeout_s: float) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.faults = Faults()
        self.topics = Topics(clock)
        self.groups = Groups(clock, self.topics, session_timeout_s)
        self.transactions = Coordinator(clock, self.topics, self.groups)
        self.is_away = False
        self.times_away = 0
        self.on_back: list[Callable[[], None]] = []
        self._changed = threading.Condition(self.lock)
        self._version = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    # Change

    @property
    def version(self) -> int:
        """A number that differs after each change."""
        return self._version

    def changed(self) -> None:
        """Something is different now: wake whoever waits."""
        with self.lock:
            self._version += 1
            self._changed.notify_all()

    def wait(self, seen: int, deadline: Deadline) -> bool:
        """Wait until something has changed since version `seen`, or is due. False: the deadline is over."""
        if isinstance(self.clock, ManualClock):
            return self._pass_time(seen, deadline)
        with self.lock:
            if self._version == seen:
                wait_s = min(deadline.remaining_s(), self._until_due_s())
                if wait_s <= 0.0 and deadline.expired():
                    return False
                self._changed.wait(wait_s)
        self.run_due()
        return True

    def _pass_time(self, seen: int, deadline: Deadline) -> bool:
        if self._version == seen:
            if deadline.expired():
                return False
            self.clock.sleep(min(deadline.remaining_s(), self._until_due_s()))
        self.run_due()
        return True

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds. Whether it does."""
        deadline = Deadline(self.clock, timeout_s)
        self.run_due()
        while True:
            seen = self._version
            if condition():
                return True
            if not self.wait(seen, deadline):
                return condition()

    # What is due later

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call this in `delay_s` (by whoever comes by then; in real time by a thread of its own)."""
        if delay_s == HANG:
            self.faults.hang(call)
            return
        with self.lock:
            self._sequence += 1
            heappush(self._due, (self.clock.monotonic() + delay_s, self._sequence, call))
        if not isinstance(self.clock, ManualClock):
            timer = threading.Timer(delay_s, self.run_due)
            timer.daemon = True
            timer.start()

    def run_due(self) -> None:
        """Call what is due, and end the sessions and transactions that are over."""
        with self.lock:
            if not self.is_away and self.groups.expel_silent() | self.transactions.expire():
                self.changed()
        while True:
            with self.lock:
                if not self._due or self._due[0][0] > self.clock.monotonic():
                    return
                call = heappop(self._due)[2]
            call()

    def _until_due_s(self) -> float:
        """Seconds until something happens by the clock alone."""
        with self.lock:
            now = self.clock.monotonic()
            due = self._due[0][0] if self._due else now + _LONGEST_WAIT_S
            if not self.is_away:
                due = min(due, self.groups.next_expiry(), self.transactions.next_expiry())
            return max(0.0, due - now)

    # Away and back

    def go_away(self) -> None:
        """No broker answers from now on."""
        with self.lock:
            self.is_away = True
            self.times_away += 1
        self.changed()

    def come_back(self) -> None:
        """The brokers are back, and all sessions begin anew."""
        with self.lock:
            self.is_away = False
            self.groups.renew_sessions()
            waiting = list(self.on_back)
        for go_on in waiting:
            go_on()
        self.changed()

    def check_reachable(self, what: str) -> None:
        """Refuse what needs a broker while there is none.

        Raises:
            RetriableError: no broker answers.
        """
        if self.is_away:
            raise unreachable(what)

    def answer(self, delay_s: float, ask: Callable[[], T]) -> Future[T]:
        """A future of what `ask` gives or raises in `delay_s`."""
        answer: Answer[T] = Answer(self)

        def give() -> None:
            try:
                found = ask()
            except BrokerError as error:
                answer.set_exception(error)
            else:
                answer.set_result(found)
            self.changed()

        if delay_s > 0.0:
            self.later(delay_s, give)
        else:
            give()
        return answer


def unreachable(what: str) -> RetriableError:
    """As the client reports it when no broker answers."""
    return RetriableError(f"{what}: all brokers of the in-memory cluster are away", code="_ALL_BROKERS_DOWN")


class Answer(Future[T]):
    """A future that passes a manual clock's time while somebody waits for it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def result(self, timeout: float | None = None) -> T:
        """As `Future.result`."""
        return super().result(self._wait(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As `Future.exception`."""
        return super().exception(self._wait(timeout))

    def _wait(self, timeout: float | None) -> float | None:
        if self.done() or not isinstance(self._world.clock, ManualClock):
            return timeout
        self._world.wait_until(self.done, _LONGEST_WAIT_S if timeout is None else timeout)
        return 0.0
