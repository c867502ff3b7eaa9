"""What of a processor's records is parked, read from the retry partitions themselves.

A retry partition is a journal, and understood as its owner understands it (`ParkedLanes`); nothing is asked of the
owner, so this answers while no worker runs, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from streamq.core.journal_index import JournalIndex
from streamq.core.journal_records import Entry, JournalRecord, KeyState, KeyStateKind, Request, Settled, Waits, decode
from streamq.core.lanes import LaneKey
from streamq.core.requests import OpenRequests
from streamq.model import names
from streamq.model.clock import Clock, Deadline
from streamq.model.ports import AdminPort, Isolation, ReaderPort
from streamq.model.records import Latest, Record, TopicPartition
from streamq.ops import asking
from streamq.ops.tail import Progress, Tail
from streamq.runtime.start import await_answer
from streamq.tasks.processor import Processor

MOST_S: Final = 30.0
"""How long a look reads at most. A million entries take some ten seconds."""
STANDS_S: Final = 5.0
"""A transaction that stays undecided for so long is told of: one takes milliseconds."""
LOOK_S: Final = 0.2
KEYS_SHOWN: Final = 10
Show = Callable[[bytes], str]


def escaped(key: bytes) -> str:
    """A key of nobody knows which type."""
    return key.decode("utf-8", "backslashreplace")


class ParkedSummary(msgspec.Struct, frozen=True):
    """What is parked of one source partition.

    `entries` are the parked records, `oldest_offset` the lowest source offset among them. `next_at_ms` is the
    wall-clock time at which the first of them is due: 0 for at once, None if none is due before an operator acts.
    `chained`, `held` and `redriving` count keys, `chained_keys` and `held_keys` are the first of them; `requests` are
    operators' requests that the owner has not finished. `journal` is the length of the retry partition in offsets.
    `undecided_s`: for so long, at least, a transaction there has been open; what it says is not counted. `trouble` says
    why the other numbers are not to be believed.
    """

    partition: int
    entries: int = 0
    oldest_offset: int | None = None
    next_at_ms: int | None = None
    chained: int = 0
    held: int = 0
    redriving: int = 0
    chained_keys: tuple[str, ...] = ()
    held_keys: tuple[str, ...] = ()
    requests: int = 0
    journal: int = 0
    undecided_s: float = 0.0
    trouble: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is parked, held, asked for or unknown: the journal could be deleted without a loss."""
        return not (
            self.entries or self.chained or self.held or self.redriving or self.requests or self.undecided_s
        ) and (self.trouble is None)


class JournalState:
    """One journal as far as it was read."""

    def __init__(self) -> None:
        # Whose entries are of a former topic of the source's name makes no difference to how many there are.
        self._index = JournalIndex(b"")
        self._standing: dict[bytes, tuple[KeyStateKind, int]] = {}
        self._requests = OpenRequests()

    def learn(self, place: int, record: JournalRecord) -> None:
        """A record of the journal, at a place above all before."""
        match record:
            case Entry():
                self._index.know(place, record)
            case Settled():
                for settled in record.places:
                    self._index.settle(settled)
                    self._requests.settled(settled)
            case Waits():
                for wait in record.waits:
                    self._index.wait(wait)
            case KeyState():
                self._set(place, record)
            case Request():
                self._requests.learn(place, record)
            case _:
                assert_never(record)

    def _set(self, place: int, state: KeyState) -> None:
        if state.kind == "cleared":
            self._standing.pop(state.key, None)
        else:
            self._standing[state.key] = state.kind, place

    def begin_at(self, start: int) -> None:
        """The journal begins at `start` by now: what stood before is not needed any more."""
        while (oldest := self._index.oldest(1)) and oldest[0] < start:
            self._index.settle(oldest[0])
        self._standing = {key: known for key, known in self._standing.items() if known[1] >= start}
        for place in [place for place in self._requests.places() if place < start]:
            self._requests.settled(place)

    def summary(self, partition: int, show: Show) -> ParkedSummary:
        """What it comes to."""
        oldest, due = self._oldest_and_due()
        keys: dict[KeyStateKind, list[bytes]] = {"chained": [], "held": [], "redriving": []}
        for key, (kind, _) in self._standing.items():
            keys[kind].append(key)
        return ParkedSummary(
            partition,
            entries=self._index.live,
            oldest_offset=oldest,
            next_at_ms=due,
            chained=len(keys["chained"]),
            held=len(keys["held"]),
            redriving=len(keys["redriving"]),
            chained_keys=_shown(show, keys["chained"]),
            held_keys=_shown(show, keys["held"]),
            requests=len(self._requests),
        )

    def _oldest_and_due(self) -> tuple[int | None, int | None]:
        """A lane's head is its oldest, and the only one that has a time."""
        oldest: int | None = None
        due: int | None = None
        for lane, place in self._heads():
            head = self._index.entry(place)
            if head is None:
                continue
            if oldest is None or head.offset < oldest:
                oldest = head.offset
            if lane not in self._standing and (due is None or head.next_at_ms < due):
                due = head.next_at_ms
        return oldest, due

    def _heads(self) -> Iterator[tuple[LaneKey, int]]:
        for lane in self._index.lanes():
            place = self._index.head(lane)
            if place is not None:
                yield lane, place


def _shown(show: Show, keys: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(show(key) for key in sorted(keys)[:KEYS_SHOWN])


def view_of(
    admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock, *, group: str | None = None
) -> ParkedView:
    """What is parked of a processor, or of a replay of it in `group`."""
    topic = processor.retry_topic if group is None else names.retry_topic(group)
    return ParkedView(admin, reader, topic, clock, lambda key: asking.shown_key(processor.topic, key) or "")


class ParkedView:
    """What is parked in a retry topic. Each look reads what has come since the last. `show` makes text of a key."""

    def __init__(self, admin: AdminPort, reader: ReaderPort, topic: str, clock: Clock, show: Show = escaped) -> None:
        self._admin = admin
        self._show = show
        self._name = topic
        self._clock = clock
        self._tail = Tail(admin, reader, self._name, clock, self._learn)
        self._states: dict[int, JournalState] = {}
        self._stands: dict[TopicPartition, tuple[int, float]] = {}

    def _learn(self, record: Record) -> None:
        read = decode(record.key, record.value, record.headers, record.timestamp_ms)
        self._states[record.partition].learn(record.offset, read)

    def look(self, *, most_s: float = MOST_S, progress: Progress | None = None) -> Mapping[int, ParkedSummary]:
        """What is parked now, by partition; nothing where there is no such topic. Blocks: it reads for at most `most_s`
        (what is not read by then is a partition's trouble, and goes on with the next look), and waits up to `STANDS_S`
        for a transaction to be decided.

        Raises:
            RetriableError: the brokers did not answer in time: ask again.
        """
        deadline = Deadline(self._clock, most_s)
        places, anew = self._tail.places()
        if anew:
            self._states.clear()
            self._stands.clear()
        if not places:
            return {}
        ends = self._decided_ends(places)
        for place in places:
            self._states.setdefault(place.partition, JournalState())
        starts = self._tail.read(ends, deadline, progress)
        return {place.partition: self._summary(place, starts[place], ends[place]) for place in places}

    def _summary(self, place: TopicPartition, start: int, end: int) -> ParkedSummary:
        state, trouble = self._states[place.partition], self._tail.trouble(place, end)
        state.begin_at(start)
        known = ParkedSummary(place.partition) if trouble else state.summary(place.partition, self._show)
        undecided_s = self._undecided_s(place)
        return replace(known, journal=max(0, end - start), undecided_s=undecided_s, trouble=trouble)

    # Ends

    def _decided_ends(self, places: Sequence[TopicPartition]) -> asking.Offsets:
        """The stable ends. One that stands below the end is looked at again, for as long as it takes to say so."""
        patience = Deadline(self._clock, STANDS_S)
        while True:
            written, stable = self._ends(places, "read_uncommitted"), self._ends(places, "read_committed")
            now = self._clock.monotonic()
            standing = {place: int(stable[place]) for place in places if stable[place] < written[place]}
            for place in places:
                known = self._stands.get(place)
                if place not in standing:
                    self._stands.pop(place, None)
                elif known is None or known[0] != standing[place]:
                    self._stands[place] = standing[place], now
            if all(now - self._stands[place][1] >= STANDS_S for place in standing) or patience.expired():
                return stable
            self._clock.sleep(LOOK_S)

    def _ends(self, places: Sequence[TopicPartition], isolation: Isolation) -> asking.Offsets:
        asked = self._admin.list_offsets(dict.fromkeys(places, Latest()), isolation)
        return await_answer(asked, asking.TIMEOUT_S + 1, f"the ends of {self._name}")

    def _undecided_s(self, place: TopicPartition) -> float:
        known = self._stands.get(place)
        stood_s = 0.0 if known is None else self._clock.monotonic() - known[1]
        return stood_s if stood_s >= STANDS_S else 0.0
