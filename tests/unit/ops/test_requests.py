"""What an operator asks for is asked for once, carried out by the owner, and adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

import streamq as sq
from streamq.core.journal_records import KeyState, encode
from streamq.core.lanes import Ordering
from streamq.core.request_parameters import Purge, Redrive, decode, request_of
from streamq.model.errors import ConfigError, RetriableError
from streamq.model.records import TopicPartition
from streamq.ops.key_release import releases
from streamq.ops.letter_selection import Asked, Choice, Place, Selection, purges, redrives, select
from streamq.ops.requests import Following, Outcome, RequestDesk
from streamq.tasks.processor import Processor
from streamq.testing import ManualClock
from tests.serving_world import DLQ, RETRY, World, offsets


class TickingClock(ManualClock):
    """While somebody waits, the owner works (or nobody does)."""

    def __init__(self, tick: Callable[[], object]) -> None:
        super().__init__()
        self._tick = tick

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._tick()


class Operator:
    """A command's run, on the processor `charge` of `shop`."""

    def __init__(self, world: World, *, works: bool = True, ordering: Ordering = "key") -> None:
        app = sq.App("shop")
        orders = app.topic("orders", value=bytes, partitions=1)

        @app.processor(orders, ordering=ordering)
        def charge(order: bytes) -> None: ...

        self.world = world
        self.processor: Processor = app.processors["charge"]
        self.admin, self.reader = world.cluster.admin(), world.cluster.reader()
        self.clock = TickingClock(world.tick if works else lambda: None)
        self.desk = RequestDesk(self.admin, self.reader, world.cluster.producer(), self.processor, self.clock)

    def select(self, choice: Choice | None = None) -> Selection:
        return select(self.admin, self.reader, self.processor, self.clock, choice or Choice())

    def ask(
        self, make: Callable[[Selection], Iterator[Asked]], selection: Selection, most: int | None = None
    ) -> Following:
        following = self.desk.begin(selection)
        self.desk.send(following, islice(make(selection.without(following.covered)), most))
        return following

    def run(self, make: Callable[[Selection], Iterator[Asked]], choice: Choice | None = None) -> Outcome:
        following = self.ask(make, self.select(choice))
        self.desk.wait(following)
        return self.desk.outcome(following)


def back(selection: Selection) -> Iterator[Asked]:
    return redrives(selection, {}, follow=False)


def test_all_open_letters_go_back_once_and_the_figures_add_up() -> None:
    world = World()
    world.bury(*range(5))
    world.bury(7, key=None)
    operator = Operator(world)
    assert operator.run(back) == Outcome(selected=6, done=6, already=0, failed=0, waiting=0)
    assert sorted(offsets(world.entries)) == [0, 1, 2, 3, 4, 7]
    assert operator.run(back) == Outcome(0, 0, 0, 0, 0), "nothing is open any more"


def test_filters_and_limit_choose() -> None:
    world = World()
    world.bury(1, 2, 3)
    world.bury(4, key=b"other")
    operator = Operator(world)
    assert list(operator.select(Choice(key="other")).letters) == [Place(0, 3)]
    assert list(operator.select(Choice(limit=2)).letters) == [Place(0, 0), Place(0, 1)]
    assert not operator.select(Choice(reason="rejected")).letters
    assert list(operator.select(Choice(where=lambda letter, _: letter.source_offset == 2)).letters) == [Place(0, 1)]


def test_letters_of_a_key_go_together_where_their_order_counts() -> None:
    world = World("chain")
    world.bury(1, 2)
    world.bury(3, key=b"other")
    world.bury(4)
    world.bury(5, key=None)
    operator = Operator(world)
    selection = operator.select(Choice(limit=1, whole_keys=True))
    assert sorted(selection.letters) == [Place(0, 0), Place(0, 1), Place(0, 3)]
    one = operator.select(Choice(where=lambda letter, _: letter.source_offset in {4, 5}, whole_keys=True))
    assert ([place.offset for place in sorted(one.letters)], one.joined) == ([0, 1, 3, 4], 2)


def test_what_another_group_gave_up_is_left_out_and_counted() -> None:
    world = World()
    world.bury(1)
    world.cluster.append(DLQ, b"x", b"k", (("streamq.group", b"shop.charge.replay.y"),))
    selection = Operator(world).select()
    assert (list(selection.letters), selection.foreign) == ([Place(0, 0)], 1)


def test_interrupted_and_run_again_nothing_is_asked_for_twice() -> None:
    world = World()
    world.bury(*range(2_500), key=None)
    first = Operator(world, works=False)
    first.ask(back, first.select(), most=2)
    written = len(world.cluster.records(RETRY.topic))
    second = Operator(world)
    following = second.ask(back, second.select())
    assert (written, len(world.cluster.records(RETRY.topic))) == (2, 3)
    second.desk.wait(following)
    assert second.desk.outcome(following) == Outcome(2_500, 2_500, 0, 0, 0)
    assert offsets(world.entries) == list(range(2_500))


def test_what_somebody_else_closed_meanwhile_counts_as_that() -> None:
    world = World()
    letters = world.bury(1, 2, 3)
    operator = Operator(world)
    selection = operator.select()
    world.ask(Purge((letters[0],)))
    world.settle()
    following = operator.ask(back, selection)
    operator.desk.wait(following)
    assert operator.desk.outcome(following) == Outcome(3, 2, 1, 0, 0)


def test_letters_that_stay_open_are_named() -> None:
    world = World()
    world.bury(1, 2)
    operator = Operator(world)
    following = operator.ask(back, operator.select())
    world.cluster.delete_records(DLQ, 1)
    operator.desk.wait(following)
    assert operator.desk.outcome(following) == Outcome(2, 1, 0, 1, 0)
    assert operator.desk.failed(following) == [Place(0, 0)]


def test_without_a_worker_it_waits_and_says_so() -> None:
    world = World()
    world.bury(1)
    operator = Operator(world, works=False)
    following = operator.ask(back, operator.select())
    assert operator.desk.workers() == 0
    turns = iter(range(5))
    operator.desk.wait(following, until=lambda: next(turns, None) is None)
    assert operator.desk.outcome(following) == Outcome(1, 0, 0, 0, 1)
    world.settle()
    operator.desk.wait(following)
    assert operator.desk.outcome(following).done == 1


def test_a_request_that_was_settled_and_trimmed_before_it_was_seen_is_done() -> None:
    world = World()
    world.bury(1)
    operator = Operator(world, works=False)
    following = operator.ask(back, operator.select())
    world.settle()
    world.cluster.delete_records(RETRY, world.cluster.end(RETRY))
    operator.desk.wait(following)
    assert operator.desk.outcome(following).done == 1


def test_at_most_so_many_letters_a_second_are_asked_for() -> None:
    world = World()
    world.bury(*range(3_000), key=None)
    operator = Operator(world)
    began = operator.clock.monotonic()
    following = operator.desk.begin(operator.select())
    operator.desk.send(following, back(following.selection), rate=500.0)
    assert operator.clock.monotonic() - began == pytest.approx(4.0), "the third thousand goes after the first two"


def test_brokers_that_do_not_answer_are_waited_for_for_a_while() -> None:
    world = World()
    world.bury(1)
    operator = Operator(world, works=False)
    following = operator.ask(back, operator.select())
    world.cluster.away()
    with pytest.raises(RetriableError):
        operator.desk.wait(following)


def test_a_purge_closes_letters_and_moves_none() -> None:
    world = World()
    world.bury(1, 2)
    assert Operator(world).run(purges) == Outcome(2, 2, 0, 0, 0)
    assert world.entries == []


def test_requests_are_bounded_and_keep_keys_whole() -> None:
    letters: dict[Place, bytes | None] = {Place(0, at): b"big" for at in range(1_500)}
    letters.update((Place(0, 5_000 + at), b"k%d" % at) for at in range(600))
    letters[Place(1, 0)] = None
    found = list(redrives(Selection(letters, {0: 9_000, 1: 1}), {Place(1, 0): b"new"}, follow=True))
    assert [(one.partition, len(one.places)) for one in found] == [(0, 1_500), (0, 600), (1, 1)]
    parameters = [decode(one.request.kind, one.request.parameters) for one in found]
    assert [one.follow_from for one in parameters if isinstance(one, Redrive)] == [9_000, 9_000, None]


# Keys that stand still


def release(operator: Operator, *, skip_head: bool) -> Following:
    following = operator.desk.begin(operator.select(Choice(key="k")))
    asked = releases(operator.desk.view, following.selection, b"k", "k", skip_head=skip_head)
    operator.desk.send(following, asked)
    operator.desk.wait(following)
    return following


def held(kind: str = "held") -> World:
    world = World("hold")
    world.bury(1, 9)
    world.write(KeyState(b"k", "held" if kind == "held" else "chained"))
    world.own()
    return world


def test_release_gives_the_head_another_chance_and_no_other_letter() -> None:
    world = held()
    following = release(Operator(world), skip_head=False)
    assert (offsets(world.entries), world.standing(), len(following.marks)) == ([9], {}, 1)


def test_release_without_its_head_leaves_the_letter() -> None:
    world = held()
    release(Operator(world), skip_head=True)
    assert (world.entries, world.standing(), world.marks) == ([], {}, [])


def test_release_of_a_key_that_is_not_held_says_what_it_is() -> None:
    world = World("hold")
    with pytest.raises(ConfigError, match="key 'k' is not held"):
        release(Operator(world), skip_head=False)
    with pytest.raises(ConfigError, match="is chained in partition 0: `streamq dlq redrive --key`"):
        release(Operator(held("chained")), skip_head=False)
    world.write(KeyState(b"k", "redriving", b"id"))
    with pytest.raises(ConfigError, match="because its dead letters are being redriven"):
        release(Operator(world), skip_head=True)


def test_nobody_carries_out_requests_where_nothing_is_parked() -> None:
    with pytest.raises(ConfigError, match='ordering="partition"'):
        Operator(World(), ordering="partition")


def test_a_request_asked_for_by_a_newer_release_is_let_be() -> None:
    world = World()
    world.bury(1)
    payload = encode(request_of(Purge((0,)), 0)._replace(kind="newer"))
    world.cluster.append(TopicPartition(RETRY.topic, 0), None, None, payload.headers)
    operator = Operator(world, works=False)
    assert operator.desk.begin(operator.select()).covered == set()
