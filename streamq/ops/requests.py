"""Operators' requests: written into the journals, carried out by the owners, and followed until they are done.

A request stands in the journal until its last effect, whoever asked for it and whether they wait or not. What is asked
for already is not asked for again, so a command that was interrupted can be repeated; and a letter that has a mark is
never moved again, so that each goes back once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from streamq.core.journal_records import encode
from streamq.core.marks import LetterMark, decode_mark
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import BrokerError, ConfigError, RetriableError
from streamq.model.ports import AdminPort, DeliveryCallback, ProducerPort, ReaderPort
from streamq.model.records import Delivery, Latest, NextOffset, OutgoingRecord, TopicPartition
from streamq.ops import asking
from streamq.ops.letter_selection import Asked, Place, Selection
from streamq.ops.open_requests import OpenRequestsView, places_of, understood
from streamq.ops.tail import Progress
from streamq.runtime.start import await_answer
from streamq.tasks.processor import Processor

LOOK_S: Final = 0.25
PATIENCE_S: Final = 60.0
"""For so long brokers that do not answer are waited for."""
STABLE_S: Final = 10.0
"""What an owner has committed can be read within milliseconds; at most a transaction's time-out later."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of the chosen letters: `selected` is the sum of the others. `done`: redriven or purged by what was
    asked for here, or by an earlier run of the same; `already`: closed by somebody else meanwhile; `failed`: open, with
    nothing left that would close them; `waiting`: asked for, and not done yet."""

    selected: int
    done: int
    already: int
    failed: int
    waiting: int


@dataclass(slots=True)
class Following:
    """What was asked for: requests of this run and earlier ones that name chosen letters."""

    selection: Selection
    asked: list[Asked] = field(default_factory=list)
    covered: set[Place] = field(default_factory=set)
    """Letters that an open request of an earlier run names."""
    marks: dict[Place, LetterMark] = field(default_factory=dict)


class RequestDesk:
    """Where an operator's command asks. Everything blocks; one thread."""

    def __init__(
        self, admin: AdminPort, reader: ReaderPort, producer: ProducerPort, processor: Processor, clock: Clock
    ) -> None:
        """Raises:
        ConfigError: nothing of this processor is ever parked, so nobody carries requests out.
        """
        if not processor.has_journal:
            raise ConfigError(
                f'processor {processor.name!r} has ordering="partition": it has no retry topic, and nobody carries '
                "requests out; publish its dead letters with `streamq dlq redrive --to`"
            )
        self._admin = admin
        self._reader = reader
        self._producer = producer
        self._processor = processor
        self._clock = clock
        self.view = OpenRequestsView(admin, reader, processor, clock)

    def workers(self) -> int:
        """How many members the group has: without one, requests wait."""
        group = self._admin.describe_group(self._processor.group, asking.TIMEOUT_S)
        return 0 if group is None else len(group.members)

    def begin(self, selection: Selection, progress: Progress | None = None) -> Following:
        """Look at what is asked for already. What is left to be asked for is `selection` without `covered`."""
        self.view.look(progress)
        following = Following(selection)
        for partition, request in self.view:
            mine = places_of(partition, understood(request)) & selection.letters.keys()
            if mine:
                following.asked.append(Asked(partition, request, frozenset(mine)))
                following.covered |= mine
        return following

    def send(
        self,
        following: Following,
        requests: Iterable[Asked],
        *,
        rate: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write requests, at most so many letters a second.

        Raises:
            BrokerError: one was not taken: those before it are.
        """
        began, sent = self._clock.monotonic(), 0
        for one in requests:
            if rate is not None:
                self._clock.sleep(max(0.0, began + sent / rate - self._clock.monotonic()))
            if not self.view.is_open(one.partition, one.request.request_id):
                self.write(one)
            following.asked.append(one)
            sent += len(one.places)
            if progress is not None:
                progress(len(one.places))

    def write(self, asked: Asked) -> None:
        """One request, confirmed."""
        payload = encode(asked.request)
        out = OutgoingRecord(self._processor.retry_topic, None, None, payload.headers, asked.partition)
        [delivery] = confirm(self._producer, [out], self._clock)
        self.view.sent(asked.partition, asked.request.request_id, int(delivery.offset))

    # Following

    def wait(
        self,
        following: Following,
        progress: Callable[[int], None] | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until all that was asked for is done, or `until` says so. `progress` hears of letters that got their mark."""
        seen, patience = 0, Deadline(self._clock, PATIENCE_S)
        while not until():
            try:
                self.view.look()
                self._look_for_marks(following)
                patience = Deadline(self._clock, PATIENCE_S)
            except RetriableError:
                if patience.expired():
                    raise
            if progress is not None:
                progress(len(following.marks) - seen)
                seen = len(following.marks)
            if not self.open(following):
                return
            self._clock.sleep(LOOK_S)

    def open(self, following: Following) -> Sequence[Asked]:
        """Which of the requests are not done, as of the last look."""
        return [one for one in following.asked if self.view.is_open(one.partition, one.request.request_id)]

    def outcome(self, following: Following) -> Outcome:
        """What came of the letters. Waits for a transaction whose end cannot be read yet."""
        self._look_for_marks(following, decided=True)
        ours = {one.request.request_id for one in following.asked}
        waiting = {place for one in self.open(following) for place in one.places} - following.marks.keys()
        marked = [mark for place, mark in following.marks.items() if place in following.selection.letters]
        done = sum(mark.request_id in ours for mark in marked)
        selected = len(following.selection.letters)
        return Outcome(selected, done, len(marked) - done, selected - len(marked) - len(waiting), len(waiting))

    def failed(self, following: Following) -> Sequence[Place]:
        """The letters that stayed open."""
        waiting = {place for one in self.open(following) for place in one.places}
        return sorted(following.selection.letters.keys() - following.marks.keys() - waiting)

    def _look_for_marks(self, following: Following, *, decided: bool = False) -> None:
        """Marks stand behind their letters, and behind what was read when the letters were chosen."""
        selection, name = following.selection, self._processor.dead_letter_topic
        numbers = sorted({place.partition for place in selection.letters})
        places = [TopicPartition(name, number) for number in numbers]
        if not places:
            return
        ends = self._decided_ends(places) if decided else asking.ends(self._admin, places)
        starts = {place: NextOffset(selection.ends[place.partition]) for place in places}
        for record in asking.read_to_ends(self._reader, starts, ends, self._clock):
            mark = decode_mark(record.headers)
            if mark is not None:
                place = Place(record.partition, mark.letter_offset)
                if place in selection.letters:
                    following.marks.setdefault(place, mark)
        selection.ends.update((place.partition, int(end)) for place, end in ends.items())

    def _decided_ends(self, places: Sequence[TopicPartition]) -> asking.Offsets:
        asked = self._admin.list_offsets(dict.fromkeys(places, Latest()), "read_uncommitted")
        written = await_answer(asked, asking.TIMEOUT_S + 1, "the ends of the dead-letter topic")
        deadline = Deadline(self._clock, STABLE_S)
        while True:
            stable = asking.ends(self._admin, places)
            if deadline.expired() or all(stable[place] >= written[place] for place in places):
                return stable
            self._clock.sleep(0.02)


def confirm(producer: ProducerPort, records: Sequence[OutgoingRecord], clock: Clock) -> Sequence[Delivery]:
    """Produce these and wait until all are confirmed; where they stand, in their order.

    Raises:
        BrokerError: one was not; the others may be.
    """
    reports: dict[int, Delivery | BrokerError] = {}
    deadline = Deadline(clock, PATIENCE_S)
    for number, record in enumerate(records):
        _produce(producer, record, partial(reports.__setitem__, number), deadline)
    while len(reports) < len(records):
        producer.flush(1.0)
        if deadline.expired():
            raise RetriableError(f"{len(records) - len(reports)} records were not confirmed within {PATIENCE_S:g} s")
    found: list[Delivery] = []
    for number in range(len(records)):
        report = reports[number]
        if isinstance(report, BrokerError):
            raise report
        found.append(report)
    return found


def _produce(producer: ProducerPort, record: OutgoingRecord, report: DeliveryCallback, deadline: Deadline) -> None:
    """Hand one over; as long as the client's buffer is full, wait for deliveries."""
    while True:
        try:
            producer.produce(record, report)
        except RetriableError:
            if deadline.expired():
                raise
            producer.flush(1.0)
        else:
            return
