"""What parks, what follows, what runs from the journal, and how a key gets out again."""

from __future__ import annotations

import pytest

from streamq.core.journal_batch import ParkPolicy
from streamq.core.journal_check import check_journal
from streamq.core.journal_records import Entry, KeyState, Settled, Waits
from streamq.core.offset_map import JournalMark
from streamq.model.errors import InvariantError, JournalError

from .parking_bench import FORMER_ID, JOURNAL_ID, LONG_S, SOURCE_ID, Bench, record

HOUR_S = 3_600.0


def test_a_short_wait_stays_in_place_and_costs_no_transaction() -> None:
    bench = Bench()
    bench.receive([record(0)])
    assert not bench.fail(bench.take_one(), wait_s=1.0)
    assert bench.commit() is None
    assert bench.parked.plain_commit_allowed
    bench.tick(1.0)
    assert bench.started() == [0]


def test_a_long_wait_moves_the_whole_lane_and_lets_other_keys_go_on() -> None:
    bench = Bench()
    bench.receive([record(0), record(1), record(2, b"other")])
    run = bench.take(1)[0]
    assert bench.fail(run)
    batch = bench.commit()
    assert batch is not None
    first, second = batch.records
    assert isinstance(first, Entry)
    assert isinstance(second, Entry)
    assert (first.offset, first.attempts, first.next_at_ms) == (0, 2, 60_000)
    assert (second.offset, second.attempts, second.next_at_ms) == (1, 1, 0)
    assert (first.key, first.value, first.headers, first.timestamp_ms) == (b"k", b"v0", (("h", b"x"),), 1_000)
    assert (batch.offsets.base, batch.offsets.journal) == (2, JournalMark(JOURNAL_ID, 0))
    assert bench.started() == [2]
    bench.tick(LONG_S)
    assert bench.started() == [0, 1]
    assert not bench.parked.plain_commit_allowed
    settled = bench.commit()
    assert settled is not None
    assert settled.records == (Settled((0, 1)),)
    assert bench.parked.plain_commit_allowed


def test_the_backlog_and_the_span_park_a_lane_that_waits_in_place() -> None:
    for policy in (ParkPolicy(backlog=2), ParkPolicy(span=2)):
        bench = Bench(policy=policy)
        bench.receive([record(0)])
        assert not bench.fail(bench.take_one(), wait_s=2.0)
        assert bench.parked.review(0) == 0
        bench.receive([record(1), record(2)])
        assert bench.parked.review(0) == 1
        assert bench.commit() is not None
        bench.tick(2.0)
        assert bench.started() == [0, 1, 2]


def test_nothing_has_changed_after_an_abort() -> None:
    bench = Bench()
    bench.receive([record(0)])
    bench.fail(bench.take_one())
    batch = bench.plan()
    assert batch is not None
    with pytest.raises(InvariantError):
        bench.plan()
    bench.parked.aborted(batch)
    with pytest.raises(InvariantError):
        bench.parked.aborted(batch)
    again = bench.commit()
    assert again is not None
    assert again.records == batch.records


def test_what_the_journal_refuses_waits_in_its_lane_and_the_others_go() -> None:
    bench = Bench()
    bench.receive([record(0, b"culprit"), record(1, b"other")])
    for run in bench.take():
        bench.fail(run)
    batch = bench.plan()
    assert batch is not None
    bench.parked.aborted(batch)
    bench.parked.exclude([b"culprit"], until_ms=10**9)
    second = bench.commit()
    assert second is not None
    assert [one.key for one in second.records if isinstance(one, Entry)] == [b"other"]
    bench.tick(LONG_S)
    assert sorted(bench.started()) == [0, 1]


def test_attempts_and_times_outlive_the_owner() -> None:
    bench = Bench()
    bench.receive([record(0)])
    bench.fail(bench.take_one())
    bench.commit()
    bench.tick(LONG_S)
    bench.fail(bench.take_one(), HOUR_S)
    batch = bench.commit()
    assert batch is not None
    assert isinstance(batch.records[0], Waits)
    after = Bench(journal=bench.journal, restored=batch.offsets)
    after.now = bench.now + HOUR_S - 1
    assert after.take() == []
    after.now += 1
    run = after.take_one()
    assert (run.works[0].record, run.works[0].attempt) == (record(0), 3)


def test_an_entry_of_an_hour_holds_up_no_other_key() -> None:
    bench = Bench()
    bench.receive(record(offset, b"k%d" % offset) for offset in range(50))
    for run in bench.take():
        bench.fail(run, HOUR_S if run.works[0].record.offset == 0 else LONG_S)
    bench.commit()
    bench.tick(LONG_S)
    assert sorted(bench.started()) == list(range(1, 50))
    assert bench.take() == []
    bench.tick(HOUR_S)
    assert bench.started() == [0]


def work_through(bench: Bench, *, fails: bool) -> None:
    """What is due runs, one after the other; the busy key fails or works."""
    for _ in range(60):
        for run in bench.take():
            if fails and run.lane.key == b"busy":
                bench.fail(run, 8.0)
            else:
                bench.done(run)


def test_a_busy_key_follows_and_gets_out_again() -> None:
    """It is half of the traffic and fails for a minute: within a minute of working again it is back, and until then no
    more of it is in memory than the bounds allow."""
    policy = ParkPolicy(window_records=64, batch_records=100)
    bench = Bench(policy=policy)
    for second in range(120):
        bench.receive(record(40 * second + at, (b"busy", b"k%d" % at)[at % 2]) for at in range(40))
        work_through(bench, fails=second < 60)
        bench.tick(1.0)
        bench.commit()
        assert len(bench.parked.heads.window) <= policy.window_records
        assert second < 10 or second >= 60 or bench.parked.index.count(b"busy") > policy.few
        lane = bench.state.lanes.get(b"busy")
        assert lane is None or len(lane.queue) <= policy.backlog + 40
        if second >= 60 and not bench.parked.parked(b"busy"):
            break
    else:
        raise AssertionError("it did not get out")
    assert b"busy" not in bench.state.parked


def test_a_million_payloads_would_not_be_held() -> None:
    policy = ParkPolicy(window_records=40, ahead=4, batch_records=100)
    bench = Bench(policy=policy)
    bench.receive(record(offset, b"k%d" % (offset % 50)) for offset in range(2_000))
    for run in bench.take():
        bench.fail(run)
    while bench.commit() is not None:
        pass
    assert (bench.parked.index.live, bench.state.count) == (2_000, 0)
    assert len(bench.parked.heads.window) <= policy.window_records
    bench.tick(LONG_S)
    started = bench.started()
    assert sorted(started) == list(range(2_000))
    for key in range(50):
        mine = [offset for offset in started if offset % 50 == key]
        assert mine == sorted(mine)


def test_records_without_a_key_are_lanes_of_their_own() -> None:
    bench = Bench()
    bench.receive(record(offset, None) for offset in range(3))
    for run in bench.take():
        bench.fail(run, LONG_S * (3 - run.works[0].record.offset))
    bench.commit()
    assert bench.state.parked == set()
    order: list[int] = []
    for _ in range(3):
        bench.tick(LONG_S)
        order += bench.started()
    assert order == [2, 1, 0]


def test_what_was_parked_of_a_topic_made_anew_runs_first_and_settles_nothing() -> None:
    former = Bench()
    for offset in (7, 8):
        former.append(Entry(b"k", b"old", (), 0, FORMER_ID, 0, offset))
    bench = Bench(journal=former.journal)
    bench.receive([record(0), record(1)])
    assert bench.started() == [7, 8, 0, 1]
    batch = bench.commit()
    assert batch is not None
    assert (batch.offsets.base, batch.records) == (2, (Settled((0, 1)),))


def test_the_journal_is_shortened_and_nothing_live_is_deleted() -> None:
    bench = Bench(policy=ParkPolicy(slack=50))
    bench.receive(record(offset, b"k%d" % offset) for offset in range(300))
    for run in bench.take(300):
        bench.fail(run, HOUR_S if run.works[0].record.offset == 0 else LONG_S)
    bench.commit()
    bench.tick(LONG_S)
    assert len(bench.started()) == 299
    assert bench.parked.trim_point() == 0
    bench.commit()
    (place,) = bench.parked.index.oldest(9)
    assert bench.parked.trim_point() == place > 300
    bench.journal[:place] = [None] * place
    bench.tick(HOUR_S)
    assert bench.started() == [0]


def test_another_writer_stops_the_partition() -> None:
    bench = Bench()
    with pytest.raises(JournalError, match="did not write"):
        bench.parked.receive(0, KeyState(b"k", "chained"))


def test_a_journal_that_lost_something_stops_the_partition() -> None:
    mark = JournalMark(JOURNAL_ID, 10)
    check_journal(None, name="g.retry[0]", topic_id=JOURNAL_ID, end=0)
    check_journal(mark, name="g.retry[0]", topic_id=JOURNAL_ID, end=10)
    with pytest.raises(JournalError, match="last 4 offsets are gone"):
        check_journal(mark, name="g.retry[0]", topic_id=JOURNAL_ID, end=6)
    with pytest.raises(JournalError, match="made anew"):
        check_journal(mark, name="g.retry[0]", topic_id=SOURCE_ID, end=10)


def test_a_run_of_an_earlier_epoch_holds_the_keys_entries() -> None:
    bench = Bench()
    bench.receive([record(0)])
    bench.fail(bench.take_one())
    batch = bench.commit()
    assert batch is not None
    bench.tick(LONG_S)
    run = bench.take_one()
    bench.state.close()
    assert bench.parked.close() == [run.lane]
    after = Bench(journal=bench.journal, restored=batch.offsets, blocked=[run.lane.key])
    after.now = bench.now
    assert after.take() == []
    after.state.unblock(run.lane.key)
    after.parked.unblock(run.lane.key)
    assert after.started() == [0]
