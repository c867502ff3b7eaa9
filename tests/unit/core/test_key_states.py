"""Dead letters and what they do to their key, and what operators ask for."""

from __future__ import annotations

from streamq.core.journal_batch import OpenLetter, ParkPolicy
from streamq.core.journal_records import Entry, KeyState, Request

from .parking_bench import LONG_S, SOURCE_ID, Bench, record


def letter(at: int, offset: int) -> OpenLetter:
    one = record(offset)
    return OpenLetter(at, Entry(one.key, one.value, one.headers, one.timestamp_ms, SOURCE_ID, 0, offset))


def test_skip_writes_the_letter_with_its_settlement_and_goes_on() -> None:
    bench = Bench()
    bench.receive([record(0), record(1)])
    bench.give_up(bench.take_one())
    assert bench.take() == []
    batch = bench.commit()
    assert batch is not None
    assert ([one.record.offset for one in batch.letters], batch.records, batch.offsets.base) == ([0], (), 1)
    assert bench.started() == [1]


def test_chain_takes_later_records_along_until_they_are_redriven() -> None:
    bench = Bench(on_dead="chain")
    bench.receive([record(0), record(1)])
    bench.give_up(bench.take_one())
    batch = bench.commit()
    assert batch is not None
    assert batch.records == (KeyState(b"k", "chained"),)
    batch = bench.commit()
    assert batch is not None
    assert [(one.record.offset, one.dead) for one in batch.letters] == [(1, None)]
    bench.parked.receive(bench.append(Request(b"r", "redrive", b"k")), Request(b"r", "redrive", b"k"))
    assert bench.parked.redrive(b"r", [b"k"])
    bench.tick()
    bench.commit()
    bench.parked.requests.accept(b"r", 2)
    bench.commit()
    bench.receive([record(2)])
    assert bench.take() == []
    bench.parked.requests.move(b"r", [letter(0, 0), letter(1, 1)], complete=True)
    batch = bench.commit()
    assert batch is not None
    assert [one.letter_offset for one in batch.marks] == [0, 1]
    assert bench.started() == [0, 1, 2]
    assert not bench.parked.requests
    assert not bench.parked.standing


def test_entries_of_a_chained_key_stay_where_they_are_while_the_first_of_them_follow() -> None:
    """The letters of a batch settle some of them: that must not put the others in turn."""
    bench = Bench(on_dead="chain", policy=ParkPolicy(batch_records=2))
    bench.receive(record(offset) for offset in range(5))
    bench.fail(bench.take_one())
    while bench.commit() is not None:
        pass
    bench.tick(LONG_S)
    bench.give_up(bench.take_one())
    while bench.commit() is not None:
        assert bench.take() == []
    assert bench.parked.index.live == 0


def test_hold_keeps_what_comes_in_the_journal_until_it_is_released() -> None:
    bench = Bench(on_dead="hold")
    bench.receive([record(0), record(1)])
    bench.give_up(bench.take_one())
    bench.commit()
    batch = bench.commit()
    assert batch is not None
    assert [one.offset for one in batch.records if isinstance(one, Entry)] == [1]
    assert batch.offsets.base == 2
    after = Bench(on_dead="hold", journal=bench.journal, restored=batch.offsets)
    assert after.take() == []
    after.parked.receive(after.append(Request(b"r", "release")), Request(b"r", "release"))
    after.parked.requests.release(b"r", [b"k"])
    after.commit()
    assert after.started() == [1]


def test_a_request_that_was_sent_twice_is_carried_out_once() -> None:
    bench = Bench()
    for _ in range(2):
        bench.parked.receive(bench.append(Request(b"r", "release")), Request(b"r", "release"))
    bench.parked.requests.release(b"r", [])
    bench.commit()
    after = Bench(journal=bench.journal)
    assert not after.parked.requests
