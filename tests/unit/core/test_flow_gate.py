"""Pausing and resuming: bounds hold, flips are rare, nothing stays paused for ever."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from streamq.core.flow import FlowGate, FlowLimits

LIMITS = FlowLimits(records=100, worker_records=150, worker_bytes=1000, rest_s=0.25)


def test_full_pauses_half_empty_resumes() -> None:
    gate = FlowGate()
    assert gate.decide(0.0, LIMITS, records=99, held=0, worker_records=99, worker_bytes=0) is None
    assert gate.decide(0.1, LIMITS, records=100, held=0, worker_records=100, worker_bytes=0) == "pause"
    assert gate.decide(9.0, LIMITS, records=51, held=0, worker_records=51, worker_bytes=0) is None
    assert gate.decide(9.1, LIMITS, records=50, held=0, worker_records=50, worker_bytes=0) == "resume"


def test_held_records_pause_at_once_and_keep_it_paused() -> None:
    gate = FlowGate()
    assert gate.decide(0.0, LIMITS, records=2, held=1, worker_records=2, worker_bytes=0) == "pause"
    assert gate.decide(9.0, LIMITS, records=1, held=1, worker_records=1, worker_bytes=0) is None
    assert gate.decide(9.1, LIMITS, records=1, held=0, worker_records=1, worker_bytes=0) == "resume"


def test_a_partition_with_nothing_to_do_is_read_even_if_others_fill_the_worker() -> None:
    gate = FlowGate()
    assert gate.decide(0.0, LIMITS, records=5, held=0, worker_records=150, worker_bytes=0) == "pause"
    assert gate.decide(1.0, LIMITS, records=0, held=0, worker_records=149, worker_bytes=0) == "resume"


def test_others_that_keep_the_worker_full_do_not_starve_a_partition_with_nothing_to_do() -> None:
    """A client needs time from resume to the first record, and a pause throws away what is under way: a partition that
    is resumed and paused again at the next look would never be read."""
    gate, now, reads_since = FlowGate(), 0.0, 0.0
    while now < 10.0 and (gate.paused or now - reads_since < 0.1):
        now += 0.005
        if gate.decide(now, LIMITS, records=0, held=0, worker_records=150, worker_bytes=1000) == "resume":
            reads_since = now
    assert not gate.paused
    assert now - reads_since >= 0.1
    assert gate.decide(now, LIMITS, records=1, held=0, worker_records=151, worker_bytes=1000) == "pause"


@given(st.integers(0, 2**32))
def test_no_resume_sooner_than_the_rest_after_a_pause(seed: int) -> None:
    rnd = random.Random(seed)
    gate, now, paused_at = FlowGate(), 0.0, None
    for _ in range(300):
        now += rnd.random() * 0.1
        records = rnd.randint(0, 200)
        flip = gate.decide(now, LIMITS, records=records, held=0, worker_records=records, worker_bytes=0)
        if flip == "pause":
            assert records >= 100
            paused_at = now
        elif flip == "resume":
            assert paused_at is not None
            assert now - paused_at >= LIMITS.rest_s
    assert gate.decide(now + 9, LIMITS, records=0, held=0, worker_records=0, worker_bytes=0) in {None, "resume"}
    assert not gate.paused, "drained, it is read again"
