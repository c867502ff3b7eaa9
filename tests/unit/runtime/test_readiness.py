"""What `/live` and `/ready` say."""

from __future__ import annotations

import streamq as sq
from streamq.runtime.worker import LIVE_S, SPARE_S, Worker
from streamq.testing import harness


def test_a_member_is_ready_when_it_reads_and_a_spare_one_after_a_while() -> None:
    app = sq.App("spare")
    topic = app.topic("spare", value=str, partitions=1)
    app.processor(topic, name="it")(lambda value: None)
    with harness(app) as h:
        owner = h._owners["it"]
        worker = Worker({"it": owner})
        now = h.clock.monotonic()
        assert not worker.ready(now), "it has joined and heard nothing yet"
        assert not worker.ready(now + SPARE_S - 0.1)
        assert worker.ready(now + SPARE_S), "the group has more members than partitions"
        h.publish(topic, "a", key="k")
        h.run_until_idle()
        h.advance(2.0)
        assert worker.ready(now)
        assert worker.live(h.clock.monotonic())
        assert not worker.live(h.clock.monotonic() + LIVE_S + 0.1)
