"""Dead letters published elsewhere: as the records that they were, and closed when they are confirmed."""

from __future__ import annotations

import pytest

from streamq.model.errors import ConfigError, FatalBrokerError
from streamq.ops.letter_publishing import check_target, publish
from streamq.ops.letter_selection import Asked, Place
from tests.serving_world import DLQ, World

from .test_requests import Operator

AGAIN = "orders.again"


def run(operator: Operator, edits: dict[Place, bytes | None] | None = None) -> list[Asked]:
    closed: list[Asked] = []
    publish(
        operator.reader, operator.world.cluster.producer(), operator.processor, operator.clock, operator.select(),
        AGAIN, edits=edits, close=closed.append,
    )  # fmt: skip
    return closed


def test_letters_are_published_as_they_were_and_closed_in_batches() -> None:
    world = World()
    world.cluster.create_topic(AGAIN)
    world.bury(*range(1_200), headers=(("mine", b"1"),))
    operator = Operator(world)
    closed = run(operator, {Place(0, 1): b"mended"})
    records = world.cluster.records(AGAIN)
    assert [record.value for record in records] == [b"v0", b"mended", *(b"v%d" % at for at in range(2, 1_200))]
    assert {(record.key, record.headers) for record in records} == {(b"k", (("mine", b"1"),))}
    assert [len(asked.places) for asked in closed] == [500, 500, 200]
    assert {asked.request.kind for asked in closed} == {"purge"}


def test_what_the_topic_does_not_take_stays_open() -> None:
    world = World()
    world.cluster.create_topic(AGAIN, config={"max.message.bytes": "100"})
    world.bury(1)
    closed: list[Asked] = []
    operator = Operator(world)
    with pytest.raises(FatalBrokerError):
        publish(
            operator.reader, world.cluster.producer(), operator.processor, operator.clock, operator.select(), AGAIN,
            edits={Place(0, 0): b"x" * 1_000}, close=closed.append,
        )  # fmt: skip
    assert closed == []


def test_a_topic_that_is_not_there_or_is_the_owners_is_refused() -> None:
    operator = Operator(World())
    with pytest.raises(ConfigError, match=r"topic orders\.again does not exist"):
        check_target(operator.admin, operator.processor, AGAIN)
    with pytest.raises(ConfigError, match="which only the processor's owner writes"):
        check_target(operator.admin, operator.processor, DLQ.topic)
