"""The worker on each cluster: what it promises where groups begin, members die and topics end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

import pytest

from streamq.app import App
from streamq.config import Start, WorkerConfig
from streamq.model.clock import Deadline
from streamq.model.ports import (
    AdminPort,
    ConsumerOptions,
    ConsumerPort,
    Isolation,
    ProducerPort,
    ReaderPort,
    TransactionPort,
)
from streamq.model.records import NextOffset, OutgoingRecord, TopicPartition
from streamq.model.transactions import StepHook
from streamq.runtime.intake import Bounds
from streamq.runtime.owner import Owner
from streamq.tasks.context import Context
from streamq.tasks.processor import Processor
from streamq.wiring import begin, make_owner, prepare_inline
from tests.contract.backend import COMMITTED, KEPT, Backend
from tests.contract.driving import ANSWER_S, admin_of, committed, existing, fill, fill_new, locate, produce, producer_of

TICK_S = 0.05
WORKER = WorkerConfig(commit_interval_s=0.2, drain_timeout_s=5.0)
Handle = Callable[[bytes, Context], None]


class Mortal:
    """The cluster's clients, with group members that can be killed."""

    def __init__(self, backend: Backend) -> None:
        self.consumers: list[ConsumerPort] = []
        self._backend = backend

    @property
    def description(self) -> str:
        """The cluster."""
        return self._backend.clients.description

    def consumer(self, options: ConsumerOptions) -> ConsumerPort:
        """A member with a short session."""
        self.consumers.append(self._backend.consumer(options.group))
        return self.consumers[-1]

    def reader(self, isolation: Isolation = "read_committed") -> ReaderPort:
        """As the cluster's."""
        return self._backend.clients.reader(isolation)

    def producer(self) -> ProducerPort:
        """As the cluster's."""
        return self._backend.clients.producer()

    def transactions(self, transactional_id: str, on_step: StepHook | None = None) -> TransactionPort:
        """As the cluster's."""
        return self._backend.clients.transactions(transactional_id, on_step)

    def admin(self) -> AdminPort:
        """As the cluster's."""
        return self._backend.clients.admin()


class Workplace:
    """One topic, one processor on it, and its worker, in this thread."""

    def __init__(
        self, backend: Backend, topic: str | None = None, *, start: Start = "earliest", handle: Handle | None = None
    ) -> None:
        self.done: list[bytes] = []
        self.backend = backend
        self.topic = topic or backend.make_topic()
        self.clients = Mortal(backend)
        self.app = App(backend.new_name("app"), clients=self.clients)
        declared = self.app.topic(self.topic, value=bytes, partitions=existing(backend, self.topic).partitions)

        @self.app.processor(declared, start=start)
        def work(value: bytes, ctx: Context) -> None:
            if handle is not None:
                handle(value, ctx)
            self.done.append(value)

        self.processor: Processor = self.app.processors["work"]
        self.admin = admin_of(backend)
        self.producer = producer_of(backend)

    def begin(self, bounds: Bounds | None = None, group: str | None = None) -> Owner:
        """Start a worker, as `streamq worker` does."""
        begin(self.admin, self.processor, WORKER, group)
        owner = make_owner(
            self.app,
            self.processor,
            clients=self.clients,
            producer=self.producer,
            admin=self.admin,
            worker=WORKER,
            clock=self.backend.clock,
            prepare=prepare_inline,
            inline=True,
            bounds=bounds,
            group=group,
        )
        owner.start()
        return owner

    def run(self, condition: Callable[[], bool], what: str, *owners: Owner) -> None:
        """Let these workers go on until the condition holds."""
        deadline = Deadline(self.backend.clock, self.backend.patience_s)
        while not condition():
            assert not deadline.expired(), f"not within {self.backend.patience_s:g} s: {what}; done {self.done}"
            for owner in owners:
                owner.tick(TICK_S)

    def kill(self) -> None:
        """Kill the worker that was started last: it does not tick any more, and its group lets go of it."""
        self.backend.expel(self.clients.consumers[-1], self.processor.group)

    def lag(self) -> int:
        """What is not committed."""
        partitions = self.partitions
        points = committed(self.backend, self.processor.group, *partitions)
        offsets = {one: point.next_offset if point is not None else 0 for one, point in points.items()}
        return sum(locate(self.backend, one) - offsets[one] for one in partitions)

    @property
    def partitions(self) -> Sequence[TopicPartition]:
        """The topic's partitions."""
        return [TopicPartition(self.topic, number) for number in range(existing(self.backend, self.topic).partitions)]

    def close(self) -> None:
        """Release what is held."""
        self.app.close(0.1)


@pytest.fixture
def workplace(backend: Backend) -> Iterator[Workplace]:
    """A topic of one partition and its processor."""
    with closing(Workplace(backend)) as workplace:
        yield workplace


def test_everything_is_done_in_order_and_committed(workplace: Workplace) -> None:
    values = fill(workplace.backend, workplace.topic, 50)
    owner = workplace.begin()
    workplace.run(lambda: len(workplace.done) >= 50 and workplace.lag() == 0, "all is done", owner)
    owner.close()
    assert workplace.done == values


def test_a_clean_stop_repeats_nothing(workplace: Workplace) -> None:
    values = fill(workplace.backend, workplace.topic, 30)
    owner = workplace.begin()
    workplace.run(lambda: len(workplace.done) >= 10, "some are done", owner)
    assert owner.drain(5.0)
    owner.close()
    values += fill(workplace.backend, workplace.topic, 10, start=30)
    later = workplace.begin()
    workplace.run(lambda: workplace.lag() == 0, "the rest is done", later)
    later.close()
    assert workplace.done == values


def test_after_a_kill_the_next_one_goes_on_where_was_committed(workplace: Workplace) -> None:
    values = fill(workplace.backend, workplace.topic, 20)
    owner = workplace.begin()
    workplace.run(lambda: workplace.lag() == 0, "all is done and committed", owner)
    values += fill(workplace.backend, workplace.topic, 5, start=20)
    workplace.kill()
    later = workplace.begin()
    workplace.run(lambda: workplace.lag() == 0, "the rest is done", later)
    later.close()
    assert workplace.done == values


def test_latest_reads_a_partition_that_comes_later_from_its_beginning(backend: Backend) -> None:
    topic = backend.make_topic()
    fill(backend, topic, 5)
    with closing(Workplace(backend, topic, start="latest")) as workplace:
        owner = workplace.begin()
        workplace.run(lambda: owner.reading and owner.stats.rebalances["assigned"] > 0, "it reads", owner)
        workplace.admin.add_partitions(topic, 2, ANSWER_S)
        values = fill_new(backend, topic, 5, partition=1, start=100)
        workplace.run(lambda: workplace.lag() == 0, "the new partition is done", owner)
        owner.close()
        assert workplace.done == values
        # Its dead letters and what is parked of it have a place, too.
        assert existing(backend, workplace.processor.dead_letter_topic).partitions == 2
        assert existing(backend, workplace.processor.retry_topic).partitions == 2


def test_latest_loses_nothing_to_a_kill_before_the_first_commit(backend: Backend) -> None:
    """Neither what came before the kill and was not begun, nor a partition that came while nobody was there."""
    topic = backend.make_topic()
    fill(backend, topic, 5)
    with closing(Workplace(backend, topic, start="latest")) as workplace:
        owner = workplace.begin()
        workplace.run(lambda: owner.reading and owner.stats.rebalances["assigned"] > 0, "it reads", owner)
        values = fill(backend, topic, 3, start=100)
        workplace.kill()
        workplace.admin.add_partitions(topic, 2, ANSWER_S)
        values += fill(backend, topic, 3, start=103) + fill_new(backend, topic, 3, partition=1, start=106)
        later = workplace.begin()
        workplace.run(lambda: workplace.lag() == 0, "both partitions are done", later)
        later.close()
        assert sorted(workplace.done) == values


def test_a_time_to_start_at(backend: Backend) -> None:
    topic = backend.make_topic()
    now_ms = int(backend.clock.time() * 1000)
    produce(
        backend,
        [OutgoingRecord(topic, None, b"%d" % age, (), 0, now_ms - 1_000 * age) for age in (50, 40, 30, 20, 10)],
    )
    at = datetime.fromtimestamp((now_ms - 30_000) / 1000, UTC)
    with closing(Workplace(backend, topic, start=at)) as workplace:
        owner = workplace.begin()
        workplace.run(lambda: workplace.lag() == 0, "the rest is done", owner)
        owner.close()
        assert workplace.done == [b"30", b"20", b"10"]


def end_in_commit_marker(backend: Backend) -> tuple[str, list[bytes]]:
    """A topic whose last offset is a commit marker's."""
    topic = backend.make_topic()
    values = fill(backend, topic, 3)
    backend.end_with_commit_marker(topic)
    return topic, [*values, COMMITTED]


def end_in_abort_marker(backend: Backend) -> tuple[str, list[bytes]]:
    """A topic whose last offsets are an aborted record's and its marker's."""
    topic = backend.make_topic()
    values = fill(backend, topic, 3)
    backend.end_with_abort_marker(topic)
    return topic, values


def only_markers(backend: Backend) -> tuple[str, list[bytes]]:
    """A topic with nothing to read in it."""
    topic = backend.make_topic()
    backend.end_with_abort_marker(topic)
    return topic, []


def end_in_hole(backend: Backend) -> tuple[str, list[bytes]]:
    """A topic whose end was compacted away."""
    return backend.make_topic_with_hole_at_end(), [KEPT]


ENDS = [end_in_commit_marker, end_in_abort_marker, only_markers, end_in_hole]


@pytest.mark.parametrize("make", ENDS)
def test_a_topic_that_ends_without_a_record_has_no_lag_once_all_is_done(
    backend: Backend, make: Callable[[Backend], tuple[str, list[bytes]]]
) -> None:
    topic, values = make(backend)
    with closing(Workplace(backend, topic)) as workplace:
        owner = workplace.begin()
        workplace.run(lambda: workplace.lag() == 0, "the lag is 0", owner)
        owner.close()
        assert workplace.done == values


@pytest.mark.parametrize("make", ENDS)
def test_a_replay_up_to_such_an_end_comes_to_its_end(
    backend: Backend, make: Callable[[Backend], tuple[str, list[bytes]]]
) -> None:
    topic, values = make(backend)
    partition = TopicPartition(topic, 0)
    with closing(Workplace(backend, topic)) as workplace:
        bounds = Bounds({partition: NextOffset(locate(backend, partition))})
        owner = workplace.begin(bounds, backend.new_name("replay"))
        workplace.run(owner.finished, "the replay ends", owner)
        owner.close()
        assert workplace.done == values


def test_what_retention_took_is_passed_over_with_an_error(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 10)
    with closing(Workplace(backend, topic)) as workplace:
        begin(workplace.admin, workplace.processor, WORKER)
        backend.delete_records(TopicPartition(topic, 0), 6)
        owner = workplace.begin()
        workplace.run(lambda: workplace.lag() == 0, "work goes on at the earliest", owner)
        owner.close()
        assert workplace.done == values[6:]
    (told,) = [record for record in caplog.records if vars(record).get("event") == "retention_overtook"]
    assert vars(told)["records_gone_at_most"] == 6


def test_two_workers_share_and_nothing_is_done_twice(backend: Backend) -> None:
    topic = backend.make_topic(partitions=4)
    with closing(Workplace(backend, topic)) as workplace:
        first = workplace.begin()
        values = [
            value for number in range(4) for value in fill(backend, topic, 25, partition=number, start=25 * number)
        ]
        workplace.run(lambda: len(workplace.done) >= 50, "half is done", first)
        second = workplace.begin()
        more = [
            value
            for number in range(4)
            for value in fill(backend, topic, 25, partition=number, start=100 + 25 * number)
        ]
        workplace.run(lambda: workplace.lag() == 0 and second.stats.assigned > 0, "both have done all", first, second)
        assert first.drain(5.0)
        first.close()
        last = [
            value for number in range(4) for value in fill(backend, topic, 5, partition=number, start=200 + 5 * number)
        ]
        workplace.run(lambda: workplace.lag() == 0, "the second does the rest", second)
        second.close()
        assert sorted(workplace.done) == sorted(values + more + last)
