"""Requests and key states in the core: what a purge writes, what waits for what, and the journal's length."""

from __future__ import annotations

from streamq.core.journal_batch import JournalBatch, OpenLetter, ParkPolicy
from streamq.core.journal_plan import plan
from streamq.core.journal_records import Entry, KeyState, Request, Settled
from streamq.core.lanes import KeyScheduler
from streamq.core.marks import LetterMark
from streamq.core.parking import ParkedLanes
from streamq.core.partition import PartitionState
from streamq.model.records import NextOffset, TopicPartition

SOURCE_ID, JOURNAL_ID = b"s" * 16, b"j" * 16


class Journal:
    """A journal partition and its owner; each transaction takes effect."""

    def __init__(self, *records: Request | KeyState, **policy: int) -> None:
        state = PartitionState(TopicPartition("t", 0), 1, KeyScheduler(), NextOffset(0))
        self.parked = ParkedLanes(
            state, journal_id=JOURNAL_ID, source_id=SOURCE_ID, process=b"process0", policy=ParkPolicy(**policy)
        )
        for place, record in enumerate(records):
            self.parked.receive(place, record)
        self.end = len(records)
        self.parked.begin()

    def step(self) -> JournalBatch | None:
        """One transaction and its marker."""
        batch = plan(self.parked, 0)
        if batch is not None:
            self.parked.committed(batch, range(self.end, self.end + len(batch.records)))
            self.end += len(batch.records) + 1
            self.parked.reach(self.end)
        return batch


def entry(offset: int, key: bytes | None = b"k") -> Entry:
    return Entry(key, b"v", (), 1, SOURCE_ID, 0, offset)


def test_a_purge_leaves_marks_and_no_entries_in_the_transaction_that_settles_its_request() -> None:
    journal = Journal(Request(b"one", "purge"))
    assert journal.parked.requests.purge(b"one")
    journal.parked.requests.move(b"one", [OpenLetter(3, None), OpenLetter(5, None)], complete=True)
    batch = journal.step()
    assert batch is not None
    assert batch.marks == (LetterMark(3, b"one", "purged"), LetterMark(5, b"one", "purged"))
    assert batch.records == (Settled((0,)),)
    assert journal.step() is None
    assert not len(journal.parked.requests)


def test_marks_alone_are_worth_a_transaction_and_take_room_in_it() -> None:
    journal = Journal(Request(b"one", "purge"), batch_records=2)
    journal.parked.requests.purge(b"one")
    journal.parked.requests.move(b"one", [OpenLetter(at, None) for at in range(3)], complete=False)
    found = [journal.step(), journal.step(), journal.step()]
    assert [None if batch is None else len(batch.marks) for batch in found] == [2, 1, None]


def test_only_one_request_takes_letters_at_a_time() -> None:
    journal = Journal(Request(b"one", "redrive"), Request(b"two", "purge"), Request(b"three", "redrive"))
    requests = journal.parked.requests
    assert journal.parked.redrive(b"one", [])
    assert not requests.purge(b"two")
    requests.move(b"one", [OpenLetter(0, entry(7, None))], complete=True)
    journal.step()
    assert requests.purge(b"two")
    assert not journal.parked.redrive(b"three", [])


def test_states_that_a_batch_cannot_hold_all_come_to_the_journals_end_in_turn() -> None:
    keys = [b"a", b"b", b"c", b"d", b"e"]
    journal = Journal(
        *(KeyState(key, "chained") for key in keys), *[KeyState(b"x", "cleared")] * 20, batch_records=2, slack=4
    )
    for _ in range(10):
        if journal.step() is None:
            break
    assert journal.step() is None, "it ends"
    assert min(standing.place for standing in journal.parked.standing.values()) >= 25
    assert sorted(map(str, journal.parked.standing)) == sorted(map(str, keys))


def test_a_letter_that_the_journal_refuses_stays_open_and_the_others_go_on() -> None:
    journal = Journal(Request(b"one", "redrive"))
    requests = journal.parked.requests
    journal.parked.redrive(b"one", [])
    letters = [OpenLetter(at, entry(at, None)) for at in range(3)]
    requests.move(b"one", letters, complete=True)
    batch = plan(journal.parked, 0)
    assert batch is not None
    journal.parked.aborted(batch)
    refused = letters[1].entry
    assert refused is not None
    assert requests.refused(batch, refused)
    assert not requests.refused(batch, entry(1, None)), "only what was moved by it"
    after = journal.step()
    assert after is not None
    assert [mark.letter_offset for mark in after.marks] == [0, 2]
    assert not len(requests)
