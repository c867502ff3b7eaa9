"""When the failure path itself fails: dead letters that are refused, commits that are refused or get no answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

import streamq as sq
from streamq.config import Ordering, WorkerConfig
from streamq.model.errors import FatalBrokerError, RecordTooLargeError
from streamq.model.records import NextOffset
from streamq.runtime.intake import Bounds
from streamq.testing import HANG, Harness, ManualClock, MemoryCluster, harness
from streamq.wiring import begin, make_owner, prepare_inline


@dataclass
class Shop:
    """An app whose handler does what the value says."""

    app: sq.App
    topic: sq.Topic[str, str]
    done: list[str] = field(default_factory=list)


@pytest.fixture
def shop() -> Shop:
    app = sq.App("shop")
    topic = app.topic("orders", value=str, partitions=1)
    made = Shop(app, topic)

    @app.processor(topic, name="it", retry=sq.RetryPolicy(max_attempts=2, backoff_s=1.0, jitter=0.0))
    def it(order: str, ctx: sq.Context) -> None:
        if order.startswith("reject"):
            raise sq.Reject("r" * 900)
        if order.startswith("fail") or (order.startswith("once") and ctx.attempt == 1):
            raise ValueError(order)
        made.done.append(order)

    return made


def rounds(h: Harness, count: int = 20) -> None:
    """Let it work without any time passing."""
    for _ in range(count):
        h.advance(0.0)


def test_a_refused_dead_letter_holds_its_key_and_the_commit_and_nobody_else(shop: Shop) -> None:
    with harness(shop.app) as h:
        h.expect_errors("dead_letter", "dead_letter_refused")
        h.cluster.faults.refuse_produces(3, topic="shop.it.dlq")
        h.publish(shop.topic, "reject", key="bad")
        h.publish(shop.topic, "later", key="bad")
        h.publish(shop.topic, "other", key="good")
        for _ in range(12):
            h.advance(0.1)
        assert shop.done == ["other"], "the key waits for its dead letter, others go on"
        assert h.committed("it")[0] == 0, "nothing is committed past it"
        assert h.dead_letters("it") == []
        h.run_until_idle()
        assert shop.done == ["other", "later"]
        assert [letter.reason for letter in h.dead_letters("it")] == ["rejected"], "once, when it is taken"
        assert h.lag("it") == 0


def test_a_dead_letter_that_is_too_large_goes_without_what_it_can_spare(shop: Shop) -> None:
    with harness(shop.app) as h:
        h.expect_errors("dead_letter")
        h.cluster.faults.refuse_produces(1, topic="shop.it.dlq", error=RecordTooLargeError("too large"))
        h.publish(shop.topic, "reject", key="bad")
        h.run_until_idle()
        [letter] = h.dead_letters("it")
        names = {name for name, _ in letter.record.headers}
        assert letter.record.value == b'"reject"'
        assert "streamq.error.stack" not in names
        assert {"streamq.error.message", "streamq.source.offset", "streamq.reason"} <= names


def test_a_commit_that_is_refused_is_repeated(shop: Shop) -> None:
    with harness(shop.app) as h:
        h.cluster.faults.refuse_commits(2)
        h.publish(shop.topic, "a", key="k")
        h.run_until_idle()
        assert (shop.done, h.lag("it")) == (["a"], 0)


def test_retries_wait_at_the_head_of_their_lane_and_keep_their_attempts_over_a_restart(shop: Shop) -> None:
    with harness(shop.app) as h:
        h.expect_errors("dead_letter")
        h.publish(shop.topic, "fail", key="k")
        h.publish(shop.topic, "after", key="k")
        h.publish(shop.topic, "once", key="other")
        rounds(h)
        assert shop.done == []
        h.advance(0.9)
        assert shop.done == [], "the backoff is not over"
        h.run_until_idle()
        assert shop.done == ["once", "after"]
        [letter] = h.dead_letters("it")
        assert (letter.reason, letter.attempts) == ("attempts", 2)


ORDERINGS: list[tuple[Ordering, list[str]]] = [
    ("key", ["b", "once", "a2"]),
    ("partition", ["once", "a2", "b"]),
    ("none", ["a2", "b", "once"]),
]


@pytest.mark.parametrize(("ordering", "expected"), ORDERINGS)
def test_what_waits_for_a_failing_record(ordering: Ordering, expected: list[str]) -> None:
    app = sq.App("modes")
    topic = app.topic("modes", value=str, partitions=1)
    done: list[str] = []
    policy = sq.RetryPolicy(backoff_s=1.0, jitter=0.0)

    def it(value: str, ctx: sq.Context) -> None:
        if value == "once" and ctx.attempt == 1:
            raise ValueError
        done.append(value)

    app.processor(topic, ordering=ordering, retry=policy)(it)
    with harness(app) as h:
        h.publish(topic, "once", key="a")
        h.publish(topic, "a2", key="a")
        h.publish(topic, "b", key="b")
        h.run_until_idle()
    assert done == expected


def test_a_tombstone_nobody_asked_for_is_a_dead_letter(shop: Shop) -> None:
    with harness(shop.app) as h:
        h.expect_errors("dead_letter")
        h.cluster.append(h.cluster.partitions("orders")[0], None, b"k")
        h.run_until_idle()
        [letter] = h.dead_letters("it")
        assert (letter.reason, letter.record.value) == ("tombstone", None)


def test_a_commit_without_an_answer_is_followed_by_commits_of_the_new_membership(shop: Shop) -> None:
    with harness(shop.app) as h:
        h.expect_errors("commit_unknown")
        h.publish(shop.topic, "a", key="k")
        h.run_until_idle()
        h.cluster.faults.delay_commits(HANG)
        h.publish(shop.topic, "b", key="k")
        h.advance(40.0)
        h.publish(shop.topic, "c", key="k")
        h.advance(5.0)
        assert h.lag("it") == 0, "the new membership commits at once, not only when the old commit is given up again"
        assert shop.done[-1] == "c"
        h.cluster.faults.release()


def test_a_producer_that_is_no_more_ends_the_worker_and_loses_nothing() -> None:
    """Where lanes do not park, dead letters go through the plain producer."""
    app = sq.App("shop")
    topic = app.topic("orders", value=str, partitions=1)

    @app.processor(topic, name="it", ordering="partition")
    def it(order: str) -> None:
        raise sq.Reject(order)

    with harness(app) as h:
        h.publish(topic, "reject", key="bad")
        h._producer.close(0.0)
        with pytest.raises(FatalBrokerError):
            h.run_until_idle()
        assert h.committed("it")[0] == 0
        assert h.dead_letters("it") == []


def test_a_replay_reads_and_commits_nothing_but_its_range() -> None:
    clock = ManualClock()
    cluster = MemoryCluster(clock=clock)
    app = sq.App("again", clients=cluster)
    topic = app.topic("again", value=bytes, partitions=2)
    seen: list[tuple[int, int]] = []

    @app.processor(topic, name="it")
    def it(value: bytes, ctx: sq.Context) -> None:
        seen.append((ctx.record.partition, int(ctx.record.offset)))

    admin, producer = cluster.admin(), cluster.producer()
    begin(admin, app.processors["it"], WorkerConfig(), clock=clock)
    first, second = cluster.partitions("again")
    for partition in (first, second):
        for number in range(4):
            cluster.append(partition, b"%d" % number, b"k")
    owner = make_owner(
        app, app.processors["it"], clients=cluster, producer=producer, admin=admin, worker=WorkerConfig(), clock=clock,
        prepare=prepare_inline, inline=True, group="replay", bounds=Bounds({first: NextOffset(2)}),
    )  # fmt: skip
    owner.run()
    assert seen == [(0, 0), (0, 1)]
    assert {one: int(point.next_offset) for one, point in cluster.committed("replay").items()} == {first: 2}
