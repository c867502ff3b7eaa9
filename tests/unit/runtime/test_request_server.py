"""Operators' requests over the in-memory broker: what moves, once and in order, and what holds meanwhile."""

from __future__ import annotations

import logging

import pytest

from streamq.core.journal_records import Entry, KeyState, Request
from streamq.core.marks import LetterMark
from streamq.core.request_parameters import Edit, KeyLetters, Purge, Redrive, Release
from tests.serving_world import DLQ, SOURCE_ID, US, World, offsets


def redrive(key: bytes | None, *at: int, follow_from: int | None = None, edits: tuple[Edit, ...] = ()) -> Redrive:
    return Redrive((KeyLetters(key, at),), follow_from, edits)


def test_letters_go_back_as_they_were_with_a_mark_each() -> None:
    world = World()
    first, second = world.bury(17, 12, headers=(("mine", b"1"),))
    [request_id] = world.ask(redrive(b"k", first, second))
    world.settle()
    assert sorted(world.entries, key=lambda entry: entry.offset) == [
        Entry(b"k", b"v12", (("mine", b"1"),), 1_012, SOURCE_ID, 0, 12),
        Entry(b"k", b"v17", (("mine", b"1"),), 1_017, SOURCE_ID, 0, 17),
    ]
    assert world.marks == [LetterMark(first, request_id), LetterMark(second, request_id)]
    assert world.standing() == {}
    head = world.parked.index.head(b"k")
    known = None if head is None else world.parked.index.entry(head)
    assert known is not None
    assert known.offset == 12, "they run by source offset"


def test_the_key_is_held_until_the_last_of_its_letters_is_moved() -> None:
    world = World()
    world.own(batch_records=4)
    letters = world.bury(*range(10))
    world.ask(redrive(b"k", *letters))
    seen = []
    for _ in range(30):
        world.tick()
        seen.append((len(world.marks), world.standing().get(b"k")))
    assert world.marks == [LetterMark(at, world.marks[0].request_id) for at in letters]
    assert all(state == "redriving" for count, state in seen if 0 < count < 10)
    assert seen[-1] == (10, None)


def test_asked_twice_or_overlapping_each_letter_moves_once() -> None:
    world = World()
    a, b, c = world.bury(1, 2, 3)
    world.ask(redrive(b"k", a, b), redrive(b"k", a, b), redrive(b"k", b, c), Purge((c,)))
    world.settle()
    assert sorted(offsets(world.entries)) == [1, 2, 3]
    assert sorted(mark.letter_offset for mark in world.marks) == [a, b, c]
    world.ask(redrive(b"k", a, b, c))
    world.settle()
    assert len(world.entries) == 3


def test_a_purge_marks_and_moves_nothing() -> None:
    world = World()
    a, b = world.bury(1, 2)
    world.ask(Purge((a,)), Purge((a, b, 900)))
    world.settle()
    assert [(mark.letter_offset, mark.kind) for mark in world.marks] == [(a, "purged"), (b, "purged")]
    assert world.entries == []


def test_a_new_owner_goes_on_where_the_last_one_was_killed() -> None:
    world = World()
    world.own(batch_records=4)
    letters = world.bury(*range(10))
    [request_id] = world.ask(redrive(b"k", *letters), redrive(b"k", *letters, follow_from=5))[:1]
    while len(world.marks) < 3:
        world.tick()
    assert world.standing() == {b"k": "redriving"}
    world.own(batch_records=4)
    world.settle()
    assert sorted(offsets(world.entries)) == list(range(10))
    assert world.marks == [LetterMark(at, request_id) for at in letters]
    assert world.standing() == {}


def test_a_killed_owner_that_had_moved_all_but_not_let_go_is_finished_for() -> None:
    world = World()
    [letter] = world.bury(1)
    [request_id] = world.ask(redrive(b"k", letter))
    world.write(KeyState(b"k", "redriving", request_id))
    world.cluster.append(DLQ, None, None, (("streamq.mark", b"\x01\x01" + bytes((letter,)) + request_id),))
    world.own()
    world.settle()
    assert world.entries == []
    assert world.standing() == {}


def test_what_followed_a_chained_key_meanwhile_goes_back_with_it() -> None:
    world = World("chain")
    world.write(KeyState(b"k", "chained"))
    world.own()
    a, b = world.bury(1, 2)
    world.bury(7, key=b"other")
    late = world.bury(3)
    world.ask(redrive(b"k", a, b, follow_from=late[0]))
    world.settle()
    assert sorted(offsets(world.entries)) == [1, 2, 3]
    assert world.standing() == {}


def test_what_dies_after_the_request_was_accepted_is_left() -> None:
    world = World("chain")
    [a] = world.bury(1)
    world.ask(redrive(b"k", a, follow_from=a + 1))
    while not any(request.letters_end is not None for request in world.parked.requests):
        world.tick()
    world.bury(2)
    world.settle()
    assert offsets(world.entries) == [1]


def test_a_late_request_ends_no_state_on_behalf_of_letters_that_are_redriven() -> None:
    world = World("hold")
    [a] = world.bury(1)
    world.ask(redrive(b"k", a))
    world.settle()
    world.write(KeyState(b"k", "held"))
    world.own()
    world.ask(redrive(b"k", a))
    world.settle()
    assert world.standing() == {b"k": "held"}


def test_release_lets_keys_go_and_leaves_their_letters() -> None:
    world = World("hold")
    world.bury(1)
    for key in (b"k", b"other"):
        world.write(KeyState(key, "held"))
    world.own()
    world.ask(Release((b"k",)))
    world.settle()
    assert (world.standing(), world.marks, world.entries) == ({b"other": "held"}, [], [])


def test_an_edited_value_goes_back_in_the_letters_place() -> None:
    world = World()
    a, b, c = world.bury(1, 2, 3, key=None)
    world.ask(redrive(None, a, b, c, edits=(Edit(a, b"mended"), Edit(c, None))))
    world.settle()
    assert [(entry.key, entry.value) for entry in world.entries] == [(None, b"mended"), (None, b"v2"), (None, None)]


def test_a_letter_that_is_not_ours_stays_open(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    [mine] = world.bury(1)
    foreign = int(world.cluster.append(DLQ, b"x", b"k", (("streamq.group", b"other"),)).offset)
    [else_where] = world.bury(5, key=b"another")
    with caplog.at_level(logging.WARNING):
        world.ask(redrive(b"k", mine, foreign, else_where))
        world.settle()
    assert [mark.letter_offset for mark in world.marks] == [mine]
    assert [record.__dict__["error"] for record in caplog.records] == [
        "group other gave it up, not shop.charge",
        "it has another key than the one that it was named with",
    ]
    assert US.group == "shop.charge"


def test_a_request_that_is_not_understood_is_closed_without_effect(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    [a] = world.bury(1)
    world.ask(Request(b"x", "dance"), Request(b"y", "redrive", b"\x07"), redrive(b"k", a))
    world.settle()
    assert offsets(world.entries) == [1]
    assert [record.__dict__["event"] for record in caplog.records] == ["request_unknown"] * 2


def test_letters_that_retention_took_are_left_out() -> None:
    world = World()
    a, b = world.bury(1, 2)
    world.cluster.delete_records(DLQ, b)
    world.ask(redrive(b"k", a, b))
    world.settle()
    assert offsets(world.entries) == [2]


def test_brokers_that_are_away_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    [a] = world.bury(1)
    world.ask(redrive(b"k", a))
    world._follow()
    world.cluster.away()
    for _ in range(3):
        world.clock.sleep(1.0)
        world.server.advance(world.parked, world.parked.state.partition, world.clock.monotonic())
    assert {record.__dict__["event"] for record in caplog.records} == {"request_waits"}
    world.cluster.back()
    world.clock.sleep(60.0)
    world.settle()
    assert offsets(world.entries) == [1]


def test_many_letters_are_read_a_piece_at_a_time() -> None:
    world = World()
    letters = world.bury(*range(3_000))
    world.ask(redrive(b"k", *letters))
    most = 0
    for _ in range(60):
        world.tick()
        most = max([most, *(len(job.letters) for job in world.parked.requests.jobs.values())])
    assert offsets(world.entries) == list(range(3_000))
    assert most <= 700, most
