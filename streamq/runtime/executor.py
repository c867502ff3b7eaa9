"""Where attempts run, seen from the owner thread: works go out in batches, completions come back in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streamq.core.lanes import Run, Work
from streamq.model.clock import Clock
from streamq.model.outcomes import Failure, Outcome, Retry
from streamq.runtime.gate import StartGate

Completion = tuple[Run, Outcome | None]
"""A run that came back. An outcome: that of the first work that is not done; None: that one, if any is left, and all
behind it did not start."""

BRIEF_S = 0.001
"""What takes less is not timed one by one, but as a whole run."""
RUN_S = 0.001
"""How much work of one lane, by the handler's measured time, is handed over as one run: a slow handler gets one record
at a time, a fast one pays for the hand-over once in many."""
LONGEST_RUN = 100
AHEAD_S = 0.004
"""How much work, by the handler's measured time, is handed over beyond the free slots, so that no slot waits for the
owner's next tick."""
MOST_AHEAD = 1_000


class Overdue(NamedTuple):
    """An attempt that runs beyond its time-out and could not be ended."""

    work: Work
    running_s: float


class Executor(Protocol):
    """Runs attempts elsewhere. All methods are the owner thread's and none blocks but `wait` and `stop`."""

    @property
    def in_flight(self) -> int:
        """Works handed over and not collected."""
        ...

    @property
    def room(self) -> int:
        """How many works it takes now."""
        ...

    @property
    def longest(self) -> int:
        """How many works of one lane it takes as one run."""
        ...

    def hand_over(self, runs: Sequence[Run]) -> None:
        """Attempt the works of each run in turn, up to the first that is not done; the runs in any order. What is not
        started when its partition stops, or while the start gate is shut, comes back without an outcome."""
        ...

    def collect(self) -> Sequence[Completion]:
        """What came back since the last call."""
        ...

    def under_way(self) -> Sequence[Run]:
        """Runs of which something is attempted now: what is done of them can be settled before they come back."""
        ...

    def at_work(self) -> Sequence[Work]:
        """What is attempted now."""
        ...

    def withdraw(self) -> None:
        """Send back at once what has not started of partitions that have stopped."""
        ...

    def wait(self, timeout_s: float, enough: int = 1) -> None:
        """Block until `enough` completions can be collected, at most `timeout_s`."""
        ...

    def overdue(self, now: float) -> Sequence[Overdue]:
        """Attempts that run on beyond their time-out."""
        ...

    def stop(self, timeout_s: float) -> None:
        """Cancel what can be cancelled and end the threads; what cannot be ended is left to the process's end."""
        ...


def timed_out(timeout_s: float, running_s: float) -> Retry:
    """The outcome of an attempt beyond its time-out."""
    return Retry(Failure.of("TimeoutError", f"the attempt took {running_s:.3g} s; its timeout_s is {timeout_s:g}"))


def died(error: BaseException) -> Retry:
    """The outcome of an attempt that ended by what no handler should raise (KeyboardInterrupt, GeneratorExit)."""
    return Retry(Failure.of(type(error).__name__, f"the handler ended by {error!r}"))


class Slot:
    """One place for an attempt: what runs there, since when, and whether it was told to end."""

    __slots__ = ("cancelled", "run", "started", "work")

    def __init__(self) -> None:
        self.run: Run | None = None
        self.work: Work | None = None
        self.started = 0.0
        self.cancelled = False


class Exchange:
    """The owner's side of an executor: two queues between threads, and the count of what is out.

    A `deque`'s appends and pops are atomic, so a hand-over costs no lock; the event is only touched while the owner
    sleeps on it.
    """

    def __init__(self, concurrency: int, timeout_s: float | None, gate: StartGate, clock: Clock) -> None:
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._gate = gate
        self._clock = clock
        self._inbox: deque[Run] = deque()
        self._outbox: deque[Completion] = deque()
        self._sleeping = False
        self._enough = 1
        self._arrived = threading.Event()
        self._slots: list[Slot] = []
        self._in_flight = 0
        self._mean_s = 1.0  # unknown: as if slow, so that nothing is handed over ahead

    @property
    def in_flight(self) -> int:
        """Works handed over and not collected."""
        return self._in_flight

    @property
    def room(self) -> int:
        """Free slots, and a few milliseconds of work beyond them; none as long as there is enough of that."""
        ahead = min(MOST_AHEAD, int(self._concurrency * AHEAD_S / max(self._mean_s, 1e-6)))
        all_of_it = self._concurrency + ahead
        room = all_of_it - self._in_flight
        return 0 if ahead > self._concurrency and 4 * room < all_of_it else room

    @property
    def longest(self) -> int:
        """As many as take a millisecond."""
        return max(1, min(LONGEST_RUN, int(RUN_S / max(self._mean_s, 1e-6))))

    def collect(self) -> Sequence[Completion]:
        """What came back since the last call."""
        outbox = self._outbox
        count = len(outbox)
        if not count:
            return ()
        take = outbox.popleft
        completions = [take() for _ in range(count)]
        ran, seconds = 0, 0.0
        for run, outcome in completions:
            self._in_flight -= len(run.works)
            ran += run.done + (outcome is not None)
            seconds += run.spent_s
        if ran:
            share = min(1.0, ran / 50)
            self._mean_s += share * (seconds / ran - self._mean_s)
        return completions

    def under_way(self) -> Sequence[Run]:
        """Runs of which something is attempted now."""
        return [run for slot in self._slots if (run := slot.run) is not None]

    def at_work(self) -> Sequence[Work]:
        """What is attempted now."""
        return [work for slot in self._slots if (work := slot.work) is not None]

    def withdraw(self) -> None:
        """Send back what has not started of partitions that have stopped."""
        inbox = self._inbox
        for _ in range(len(inbox)):
            try:
                run = inbox.popleft()
            except IndexError:
                return  # the runners took the rest meanwhile
            if run.lane.partition.open:
                inbox.append(run)
            else:
                self._give_back((run, None))

    def wait(self, timeout_s: float, enough: int = 1) -> None:
        """Block until `enough` completions can be collected, at most `timeout_s`."""
        self._enough = enough
        self._sleeping = True
        # Looked at after the flag is up: a completion appended before that is seen here, one after it sets the event.
        if len(self._outbox) < enough:
            self._arrived.wait(timeout_s)
        self._sleeping = False
        self._arrived.clear()

    def overdue(self, now: float) -> Sequence[Overdue]:
        """Attempts that run on beyond their time-out, with some grace for a cancellation to take effect."""
        if self._timeout_s is None:
            return ()
        limit = self._timeout_s + min(1.0, self._timeout_s)
        found = []
        for slot in self._slots:
            work, running_s = slot.work, now - slot.started
            if work is not None and running_s > limit:
                found.append(Overdue(work, running_s))
        return found

    def _give_back(self, completion: Completion) -> None:
        self._outbox.append(completion)
        if self._sleeping and len(self._outbox) >= self._enough:
            self._arrived.set()
