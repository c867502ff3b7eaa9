"""Where transactions are forbidden, or refused for one record: the rest goes on, and nothing stands for good."""

from __future__ import annotations

import pytest

import streamq as sq
from streamq.config import Ordering
from streamq.model.errors import FatalBrokerError
from streamq.testing import harness
from streamq.testing.memory.transactions import MemoryTransactions


def test_without_the_right_to_transactions_lanes_wait_in_place_and_dead_letters_go_plainly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(self: MemoryTransactions, timeout_s: float) -> None:
        raise FatalBrokerError("not you", code="TRANSACTIONAL_ID_AUTHORIZATION_FAILED")

    monkeypatch.setattr(MemoryTransactions, "begin_session", forbidden)
    app = sq.App("shop")
    topic = app.topic("orders", value=str, partitions=3)
    done: list[str] = []

    @app.processor(topic, name="it", park_after_s=0.5, retry=sq.RetryPolicy(backoff_s=2.0, jitter=0.0))
    def it(order: str, ctx: sq.Context) -> None:
        if order.startswith("reject"):
            raise sq.Reject(order)
        if order.startswith("once") and ctx.attempt == 1:
            raise ValueError(order)
        done.append(order)

    with harness(app) as h:
        h.expect_errors("dead_letter", "no_transactions")
        for round_ in (1, 2):
            for partition in range(3):
                h.publish(topic, f"reject {round_}", key=f"bad-{partition}", partition=partition)
                h.publish(topic, f"once {round_}", key=f"slow-{partition}", partition=partition)
                h.publish(topic, f"later {round_}", key=f"bad-{partition}", partition=partition)
                h.publish(topic, f"later {round_}", key=f"slow-{partition}", partition=partition)
            h.run_until_idle()
            assert h.lag("it") == 0
            assert done.count(f"later {round_}") == 6
            assert done.count(f"once {round_}") == 3
            assert len(h.dead_letters("it")) == 3 * round_, "each once, also of keys that had one before"
        assert h.cluster.records("shop.it.retry") == []


ORDERINGS: list[tuple[Ordering, str | None]] = [("key", "k"), ("key", None), ("none", "k")]


@pytest.mark.parametrize(("ordering", "key"), ORDERINGS)
def test_a_record_that_the_retry_topic_does_not_take_waits_in_its_place_and_the_others_leave(
    ordering: Ordering, key: str | None
) -> None:
    app = sq.App("shop")
    topic = app.topic("orders", value=str, partitions=1)
    done: list[int] = []

    @app.processor(topic, ordering=ordering, park_after_s=0.5, retry=sq.RetryPolicy(backoff_s=60.0, jitter=0.0))
    def it(order: str, ctx: sq.Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("not yet")
        done.append(len(order))

    with harness(app) as h:
        h.expect_errors("transaction_refused")
        h.cluster.admin().alter_topic_config("shop.it.retry", {"max.message.bytes": "400"}, 1.0)
        h.publish(topic, "x" * 500, key=key and f"{key}-large")
        for at in range(3):
            h.publish(topic, "x" * at, key=key and f"{key}-{at}")
        h.advance(30.0)
        left = [len(record.value or b"") for record in h.cluster.records("shop.it.retry") if record.value]
        assert sorted(left) == [2, 3, 4], "all but the large one"
        assert done == []
        h.run_until_idle()
    assert sorted(done) == [0, 1, 2, 500]
