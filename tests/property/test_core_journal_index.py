"""The journal's index against a naive list: order within a lane, turns by time, the oldest live place."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from streamq.core.journal_index import JournalIndex, lane_of
from streamq.core.journal_records import Entry, Wait
from streamq.core.lanes import LaneKey

FORMER, SOURCE = b"f" * 16, b"s" * 16


class Naive:
    """Live entries by place, and nothing clever."""

    def __init__(self) -> None:
        self.live: dict[int, Entry] = {}
        self.out: set[LaneKey] = set()

    @staticmethod
    def lane(entry: Entry) -> LaneKey:
        return lane_of(entry.key, entry.offset, entry.incarnation, foreign=entry.topic_id != SOURCE)

    def know(self, place: int, entry: Entry) -> int | None:
        old = [at for at, one in self.live.items() if same(one, entry)]
        self.live[place] = entry
        for at in old:
            del self.live[at]
        return old[0] if old else None

    def places(self, lane: LaneKey) -> list[int]:
        mine = [place for place, entry in self.live.items() if self.lane(entry) == lane]
        return sorted(mine, key=lambda place: (self.live[place].incarnation, self.live[place].offset))

    def lanes(self) -> set[LaneKey]:
        return {self.lane(entry) for entry in self.live.values()}

    def due(self, now_ms: int) -> set[LaneKey]:
        return {
            lane for lane in self.lanes() - self.out if self.live[self.places(lane)[0]].next_at_ms <= now_ms
        }  # fmt: skip


def same(one: Entry, other: Entry) -> bool:
    return (one.topic_id, one.key, one.offset) == (other.topic_id, other.key, other.offset)


class Pair:
    """Index and model, driven alike."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.index, self.naive = JournalIndex(SOURCE), Naive()
        self.end = 0
        self.now_ms = 0

    def step(self) -> None:
        what = self.rnd.random()
        if what < 0.45:
            self.append()
        elif what < 0.65 and self.naive.live:
            self.settle()
        elif what < 0.75 and self.naive.live:
            self.wait()
        elif what < 0.9:
            self.turn()
        elif self.naive.out:
            lane = self.rnd.choice(sorted(self.naive.out, key=str))
            self.naive.out.discard(lane)
            self.index.put_back(lane)
        self.check()

    def append(self) -> None:
        self.end += self.rnd.randint(1, 3)
        live = list(self.naive.live.values())
        if live and self.rnd.random() < 0.2:
            entry = self.rnd.choice(live)  # appended anew
        else:
            topic_id = self.rnd.choice((SOURCE, SOURCE, SOURCE, FORMER))
            key = self.rnd.choice((b"a", b"a", b"b", b"c", None))
            incarnation = int(topic_id == SOURCE)
            wait_ms = self.rnd.choice((0, 0, self.rnd.randint(1, 50)))
            offset = self.rnd.randint(0, 40) if self.rnd.random() < 0.3 else self.end + 100
            entry = Entry(key, b"v", (), 7, topic_id, incarnation, offset, 1 + bool(wait_ms), wait_ms)
        assert self.index.know(self.end, entry) == self.naive.know(self.end, entry)

    def settle(self) -> None:
        place = self.rnd.choice(list(self.naive.live))
        entry = self.naive.live.pop(place)
        assert self.index.settle(place) == Naive.lane(entry)
        assert self.index.settle(place) is None

    def wait(self) -> None:
        place = self.rnd.choice(list(self.naive.live))
        wait = Wait(place, self.rnd.randint(2, 5), self.now_ms + self.rnd.randint(0, 30))
        entry = self.naive.live[place]
        self.naive.live[place] = entry._replace(attempts=wait.attempts, next_at_ms=wait.next_at_ms)
        self.index.wait(wait)

    def turn(self) -> None:
        self.now_ms += self.rnd.randint(0, 20)
        due = self.naive.due(self.now_ms)
        most = self.rnd.randint(1, 4)
        found = self.index.due(self.now_ms, most)
        assert len(set(found)) == len(found) == min(most, len(due))
        assert set(found) <= due
        self.naive.out.update(found)

    def check(self) -> None:
        naive, index = self.naive, self.index
        assert index.live == len(naive.live)
        assert set(index.lanes()) == naive.lanes()
        assert index.oldest(3) == sorted(naive.live)[:3]
        for lane in naive.lanes():
            places = naive.places(lane)
            assert index.first(lane, 99) == places
            assert (index.head(lane), index.count(lane)) == (places[0], len(places))
        for place, entry in naive.live.items():
            known = index.entry(place)
            assert known is not None
            assert (known.lane, known.offset, known.attempts, known.next_at_ms, known.incarnation) == (
                Naive.lane(entry), entry.offset, entry.attempts, entry.next_at_ms, entry.incarnation,
            )  # fmt: skip
        waiting = naive.lanes() - naive.out
        if waiting:
            next_due = index.next_due_ms()
            assert next_due is not None
            assert next_due <= min(max(0, naive.live[naive.places(lane)[0]].next_at_ms) for lane in waiting)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_it_says_what_a_naive_list_says(seed: int) -> None:
    pair = Pair(seed)
    for _ in range(80):
        pair.step()
