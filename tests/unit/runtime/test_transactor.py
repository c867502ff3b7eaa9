"""One transaction at a time, off the owner's thread, and its outcome is told once, whatever becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from streamq.model.clock import SystemClock
from streamq.model.errors import ConfigError, FatalBrokerError, FencedError, InvariantError
from streamq.model.ports import TransactionPort
from streamq.model.records import Offset
from streamq.model.transactions import (
    Aborted,
    Batch,
    Committed,
    Membership,
    OutcomeUnknown,
    TransactionResult,
    TransactionStep,
)
from streamq.runtime.transactor import AnyTransactor, InlineTransactor, Transactor
from streamq.testing import ManualClock

from .journals import ID, R0, WAIT_S, Shop, batch, until

Make = Callable[[], TransactionPort]


class Refused:
    """Transactions of a principal without the right to the id. See `TransactionPort`."""

    def begin_session(self, timeout_s: float) -> None:
        """As a broker answers it."""
        raise FatalBrokerError("no right to the id", code="TRANSACTIONAL_ID_AUTHORIZATION_FAILED")

    def run(self, batch: Batch, membership: Membership) -> TransactionResult:
        """Nothing runs without a session."""
        raise AssertionError("there is no session")

    def close(self) -> None:
        """Nothing is held."""


class Bench:
    """A shop and its transactor, of either kind."""

    def __init__(self, kind: type[AnyTransactor]) -> None:
        clock = ManualClock() if kind is InlineTransactor else SystemClock()
        self.shop = Shop(clock)
        self.arrivals = 0
        self.refused = False
        self.transactor = kind(self._make, clock, "it", self._arrive)

    def _make(self) -> TransactionPort:
        return Refused() if self.refused else self.shop.transactions()

    def _arrive(self) -> None:
        self.arrivals += 1

    def outcome(self) -> object:
        """What the batch under way came to."""
        assert self.transactor.wait(WAIT_S)
        return self.transactor.take()

    def send(self, *values: bytes) -> object:
        """Carry a batch out."""
        self.transactor.send(batch(*values), self.shop.membership)
        return self.outcome()


@pytest.fixture(params=[Transactor, InlineTransactor], ids=["thread", "inline"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    kind: type[AnyTransactor] = request.param
    bench = Bench(kind)
    yield bench
    bench.transactor.close(WAIT_S)


class Halt:
    """A hook that lets the thread stand at a step until it is told to go on."""

    def __init__(self, step: TransactionStep) -> None:
        self._step = step
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, step: TransactionStep) -> None:
        if step == self._step:
            self.reached.set()
            assert self.go_on.wait(WAIT_S)


@pytest.fixture
def threaded() -> Iterator[Bench]:
    bench = Bench(Transactor)
    yield bench
    bench.transactor.close(WAIT_S)


def test_nothing_is_made_before_the_first_batch(bench: Bench) -> None:
    names = {thread.name for thread in threading.enumerate()}
    assert "it-transactor" not in names
    assert (bench.shop.made, bench.transactor.busy, bench.transactor.take()) == (0, False, None)
    assert bench.transactor.wait(0.0)


def test_to_close_what_never_began_is_nothing(bench: Bench) -> None:
    bench.transactor.close(0.0)
    bench.transactor.close(0.0)
    with pytest.raises(InvariantError):
        bench.transactor.send(batch(), bench.shop.membership)
    with pytest.raises(InvariantError):
        bench.transactor.decide()


def test_batches_follow_one_another_in_one_session(bench: Bench) -> None:
    for number in range(5):
        assert bench.send(b"%d" % number) == Committed((Offset(2 * number),))
    assert bench.shop.values() == [b"0", b"1", b"2", b"3", b"4"]
    assert bench.shop.made == 1
    assert bench.arrivals == 5


def test_a_result_is_taken_once_and_until_then_it_is_busy(bench: Bench) -> None:
    bench.transactor.send(batch(b"a"), bench.shop.membership)
    assert bench.transactor.busy
    assert bench.transactor.wait(WAIT_S)
    assert bench.transactor.busy, "its result would be lost"
    with pytest.raises(InvariantError):
        bench.transactor.send(batch(b"b"), bench.shop.membership)
    assert isinstance(bench.transactor.take(), Committed)
    assert (bench.transactor.busy, bench.transactor.take()) == (False, None)


def test_what_is_refused_leaves_the_session_standing(bench: Bench) -> None:
    bench.shop.cluster.faults.refuse_transactions()
    assert isinstance(bench.send(b"a"), Aborted)
    assert isinstance(bench.send(b"b"), Committed)
    assert bench.shop.values() == [b"b"]


@pytest.mark.parametrize("committed", [True, False])
def test_after_an_unknown_outcome_the_next_batch_begins_a_session_which_decides(bench: Bench, committed: bool) -> None:
    bench.shop.cluster.faults.lose_transaction_answers(committed=committed)
    assert isinstance(bench.send(b"a"), OutcomeUnknown)
    assert isinstance(bench.send(b"b"), Committed)
    assert bench.shop.values() == ([b"a", b"b"] if committed else [b"b"])


def test_one_that_is_fenced_says_so_and_the_next_batch_begins_a_session(bench: Bench) -> None:
    assert isinstance(bench.send(b"a"), Committed)
    bench.shop.cluster.transactions(ID).begin_session(WAIT_S)
    assert isinstance(bench.send(b"b"), FencedError)
    assert isinstance(bench.send(b"c"), Committed)
    assert bench.shop.values() == [b"a", b"c"]


def test_to_decide_ends_what_a_predecessor_left_open(bench: Bench) -> None:
    bench.shop.leave_open(b"left")
    bench.shop.fill(R0, [b"later"])
    assert bench.shop.values() == [], "nobody sees past what is open"
    bench.transactor.decide()
    assert bench.outcome() is None
    assert bench.shop.values() == [b"later"]
    assert isinstance(bench.send(b"a"), Committed)


def test_to_decide_begins_anew_where_a_session_stands(bench: Bench) -> None:
    assert isinstance(bench.send(b"a"), Committed)
    bench.shop.leave_open(b"left by another of the same id")
    bench.shop.fill(R0, [b"later"])
    assert bench.shop.values() == [b"a"]
    bench.transactor.decide()
    assert bench.outcome() is None
    assert bench.shop.values() == [b"a", b"later"]


def test_to_decide_after_an_unknown_outcome_decides_it(bench: Bench) -> None:
    bench.shop.cluster.faults.lose_transaction_answers(committed=False)
    assert isinstance(bench.send(b"a"), OutcomeUnknown)
    bench.shop.fill(R0, [b"later"])
    bench.transactor.decide()
    bench.transactor.decide()
    assert bench.outcome() is None
    assert not bench.transactor.busy
    assert bench.shop.values() == [b"later"]


def test_a_batch_waits_for_brokers_that_are_away(bench: Bench) -> None:
    bench.shop.cluster.away()
    bench.transactor.send(batch(b"a"), bench.shop.membership)
    assert not bench.transactor.wait(0.1)
    assert bench.transactor.busy and bench.transactor.take() is None
    bench.shop.cluster.back()
    assert isinstance(bench.outcome(), Committed)


def test_a_batch_that_waits_for_a_session_can_be_taken_back(bench: Bench) -> None:
    bench.shop.cluster.away()
    bench.transactor.send(batch(b"a"), bench.shop.membership)
    assert bench.transactor.withdraw()
    assert not bench.transactor.withdraw()
    bench.shop.cluster.back()
    assert bench.outcome() is None
    assert not bench.transactor.busy
    assert bench.shop.values() == []


def test_settings_that_are_not_usable_are_raised_to_the_owner() -> None:
    def refuse() -> TransactionPort:
        raise ConfigError("transaction.timeout.ms is 'soon'")

    transactor = Transactor(refuse, SystemClock(), "it")
    transactor.send(batch(b"a"), Shop().membership)
    assert transactor.wait(WAIT_S)
    with pytest.raises(ConfigError, match="soon"):
        transactor.take()
    transactor.close(WAIT_S)


def test_a_session_that_can_never_begin_is_told_and_not_tried_for_ever(bench: Bench) -> None:
    bench.refused = True
    assert isinstance(bench.send(b"a"), FatalBrokerError)
    bench.transactor.decide()
    assert isinstance(bench.outcome(), FatalBrokerError)
    assert not bench.transactor.busy


# On its thread


def test_the_owner_goes_on_while_a_batch_is_under_way(threaded: Bench) -> None:
    threaded.shop.on_step = halt = Halt("before_commit")
    threaded.transactor.send(batch(b"a"), threaded.shop.membership)
    assert halt.reached.wait(WAIT_S)
    assert threaded.transactor.busy
    assert threaded.transactor.take() is None
    assert not threaded.transactor.wait(0.01)
    assert not threaded.transactor.withdraw(), "it may take effect"
    threaded.transactor.decide()
    halt.go_on.set()
    assert isinstance(threaded.outcome(), Committed)
    assert threaded.arrivals == 1


def test_to_close_waits_no_longer_than_it_may(threaded: Bench) -> None:
    threaded.shop.on_step = halt = Halt("before_commit")
    threaded.transactor.send(batch(b"a"), threaded.shop.membership)
    assert halt.reached.wait(WAIT_S)
    began = SystemClock.monotonic()
    threaded.transactor.close(0.05)
    assert SystemClock.monotonic() - began < 1.0
    halt.go_on.set()
    threaded.transactor.close(WAIT_S)
    assert threaded.shop.values() == [b"a"], "what was under way is not torn apart"


def test_to_close_ends_the_waiting_for_a_session(threaded: Bench) -> None:
    threaded.shop.cluster.away()
    threaded.transactor.send(batch(b"a"), threaded.shop.membership)
    until(lambda: threaded.shop.made == 1, "the thread is at work")
    threaded.transactor.close(WAIT_S)
    assert "it-transactor" not in {thread.name for thread in threading.enumerate()}
    threaded.shop.cluster.back()
    assert threaded.shop.values() == []
    assert threaded.transactor.wait(0.0)
