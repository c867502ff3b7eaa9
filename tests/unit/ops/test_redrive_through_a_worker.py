"""Redrive, purge and release carried out by a whole worker, on the harness: what handlers see, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

import streamq as sq
from streamq.ops.key_release import releases
from streamq.ops.letter_selection import Asked, Choice, Selection, purges, redrives, select
from streamq.ops.requests import Outcome, RequestDesk
from streamq.testing import ManualClock
from streamq.testing.harness import Harness, harness

OnDead = Literal["skip", "chain", "hold"]
Make = Callable[[Selection], Iterator[Asked]]


class WorkingClock(ManualClock):
    """Whoever waits lets the worker run."""

    def __init__(self, h: Harness) -> None:
        super().__init__()
        self._harness = h

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._harness.advance(seconds)


@dataclass
class Shop:
    """`charge` rejects what is in `broken`, and notes what it has done."""

    on_dead: OnDead
    broken: set[bytes] = field(default_factory=set)
    done: list[tuple[bytes, int, int]] = field(default_factory=list)

    def app(self) -> sq.App:
        app = sq.App("shop")
        orders = app.topic("orders", value=bytes, partitions=1)

        @app.processor(orders, on_dead=self.on_dead)
        def charge(order: bytes, ctx: sq.Context) -> None:
            if order in self.broken:
                raise sq.Reject("broken")
            self.done.append((order, ctx.record.offset, ctx.attempt))

        return app


class Operator:
    def __init__(self, h: Harness, app: sq.App) -> None:
        self._admin, self._reader = h.cluster.admin(), h.cluster.reader()
        self._clock, self._processor = WorkingClock(h), app.processors["charge"]
        self.desk = RequestDesk(self._admin, self._reader, h.cluster.producer(), self._processor, self._clock)

    def select(self) -> Selection:
        return select(self._admin, self._reader, self._processor, self._clock, Choice())

    def run(self, make: Make, interrupt: Callable[[], None] | None = None) -> Outcome:
        following = self.desk.begin(self.select())
        self.desk.send(following, make(following.selection.without(following.covered)))
        if interrupt is not None:
            interrupt()
        self.desk.wait(following)
        return self.desk.outcome(following)


@pytest.mark.parametrize("on_dead", ["skip", "chain", "hold"])
def test_after_a_fix_all_are_done_in_the_order_of_their_key(on_dead: OnDead) -> None:
    shop = Shop(on_dead, {b"0", b"3"})
    app = shop.app()
    with harness(app) as h:
        h.expect_errors("dead_letter")
        for number in range(6):
            h.publish("orders", b"%d" % number, key="k")
        h.advance(20.0)
        before = [value for value, _, _ in shop.done]
        shop.broken.clear()
        operator = Operator(h, app)
        outcome = operator.run(lambda chosen: redrives(chosen, {}, follow=on_dead == "chain"))
        h.advance(20.0)
        h.run_until_idle()
    assert outcome.failed == outcome.waiting == outcome.already == 0
    assert (before, outcome.done) == {
        "skip": ([b"1", b"2", b"4", b"5"], 2),
        "chain": ([], 6),
        "hold": ([], 1),
    }[on_dead]
    after = shop.done[len(before) :]
    assert [value for value, _, _ in after] == ([b"0", b"3"] if on_dead == "skip" else [b"%d" % at for at in range(6)])
    assert all(value == b"%d" % offset and attempt == 1 for value, offset, attempt in after)


def test_a_worker_that_is_killed_in_between_leaves_each_letter_redriven_once() -> None:
    shop = Shop("skip", {b"%d" % at for at in range(300)})
    app = shop.app()
    with harness(app) as h:
        h.expect_errors("dead_letter")
        for number in range(300):
            h.publish("orders", b"%d" % number, key=f"k{number % 7}")
        h.run_until_idle()
        shop.broken.clear()
        operator = Operator(h, app)
        outcome = operator.run(lambda chosen: redrives(chosen, {}, follow=False), interrupt=h.restart)
        again = operator.run(lambda chosen: redrives(chosen, {}, follow=False))
        h.advance(20.0)
        h.run_until_idle()
    assert (outcome, again) == (Outcome(300, 300, 0, 0, 0), Outcome(0, 0, 0, 0, 0))
    assert sorted({offset for _, offset, _ in shop.done}) == list(range(300))
    for key in range(7):
        mine = [offset for _, offset, _ in shop.done if offset % 7 == key]
        assert mine == sorted(mine)


def test_purged_letters_stay_where_they_are() -> None:
    shop = Shop("skip", {b"0"})
    app = shop.app()
    with harness(app) as h:
        h.expect_errors("dead_letter")
        h.publish("orders", b"0", key="k")
        h.advance(20.0)
        shop.broken.clear()
        operator = Operator(h, app)
        assert operator.run(purges) == Outcome(1, 1, 0, 0, 0)
        assert operator.run(lambda chosen: redrives(chosen, {}, follow=False)).selected == 0
        assert [letter.value for letter in h.dead_letters("charge")] == [b"0"]
    assert shop.done == []


@pytest.mark.parametrize("skip_head", [False, True])
def test_a_released_key_goes_on_with_or_without_its_head(skip_head: bool) -> None:
    shop = Shop("hold", {b"1"})
    app = shop.app()
    with harness(app) as h:
        h.expect_errors("dead_letter")
        for number in range(4):
            h.publish("orders", b"%d" % number, key="k")
        h.advance(20.0)
        shop.broken.clear()
        operator = Operator(h, app)

        def release(chosen: Selection) -> Iterator[Asked]:
            yield from releases(operator.desk.view, chosen, b"k", "k", skip_head=skip_head)

        operator.run(release)
        h.run_until_idle()
    assert [value for value, _, _ in shop.done] == ([b"0", b"2", b"3"] if skip_head else [b"0", b"1", b"2", b"3"])


def test_a_letter_that_the_retry_topic_does_not_take_stays_open() -> None:
    shop = Shop("skip", {b"0", b"1" * 500, b"2"})
    app = shop.app()
    with harness(app) as h:
        h.expect_errors("dead_letter", "transaction_refused")
        for value in (b"0", b"1" * 500, b"2"):
            h.publish("orders", value, key="k")
        h.run_until_idle()
        shop.broken.clear()
        h.cluster.admin().alter_topic_config("shop.charge.retry", {"max.message.bytes": "400"}, 1.0)
        operator = Operator(h, app)
        outcome = operator.run(lambda chosen: redrives(chosen, {}, follow=False))
        h.run_until_idle()
    assert outcome == Outcome(selected=3, done=2, already=0, failed=1, waiting=0)
    assert [value for value, _, _ in shop.done] == [b"0", b"2"]
