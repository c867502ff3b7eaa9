"""A group member over librdkafka's consumer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka import records
from streamq.kafka.errands import Errands
from streamq.kafka.errors import config_error, from_exception
from streamq.kafka.membership import is_member
from streamq.kafka.reader import make_consumer, poll
from streamq.kafka.settings import Settings
from streamq.kafka.troubles import Troubles
from streamq.model.errors import RetriableError
from streamq.model.ports import CommitAnswer, OutOfRange, Polled, RebalanceListener
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.model.transactions import Membership


class KafkaConsumer:
    """See `ConsumerPort`. Its owner is the thread that polls it; other threads of ours act on its behalf."""

    def __init__(self, settings: Settings, description: str) -> None:
        self._settings = settings
        self._troubles = Troubles(description)
        self._topic = ""
        self._listener: RebalanceListener | None = None
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._ended: set[TopicPartition] = set()
        self._taken_out: set[TopicPartition] = set()
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        self._consumer = make_consumer(self._settings, self._troubles)
        self._errands = Errands(self._consumer)

    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        """Join the group."""
        self._topic, self._listener = topic, listener
        self._subscribe()

    def _subscribe(self) -> None:
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise config_error(error, self._settings) from error

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As the port says. What a listener raises ends the poll, after the assignment was done as the group wants."""
        polled = poll(self._consumer, self._troubles, timeout_s, max_records)
        for event in polled.events:
            if isinstance(event, OutOfRange) and event.partition in self._assigned:
                self._ended.add(event.partition)
        return polled

    def seek(self, partition: TopicPartition, next_offset: NextOffset) -> None:
        """Set the position of an assigned partition."""
        place = KafkaPartition(partition.topic, partition.partition, next_offset)
        try:
            if partition in self._ended or partition in self._taken_out:
                self._put_back(partition, place)
            else:
                self._consumer.seek(place)
        except KafkaException as error:
            # Erroneous state, unknown partition: its fetcher has not started yet.
            typed = from_exception(error, f"seeking {partition} to {next_offset}")
            raise RetriableError(str(typed), code=typed.code) from error

    def _put_back(self, partition: TopicPartition, place: KafkaPartition) -> None:
        """With `auto.offset.reset=error` librdkafka's fetcher of a partition ends where its position does not exist,
        and cannot be sought. It gets a new one, of which the group notices nothing."""
        if partition in self._ended:
            self._consumer.incremental_unassign([place])
            self._ended.discard(partition)
            self._taken_out.add(partition)
        self._consumer.incremental_assign([place])
        self._taken_out.discard(partition)
        if partition in self._paused:
            self._consumer.pause([place])

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Poll nothing more of these."""
        ours = [one for one in partitions if one in self._assigned]
        self._paused.update(ours)
        if ours:
            self._consumer.pause(records.kafka_partitions(ours))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """The opposite of `pause`."""
        ours = [one for one in partitions if one in self._assigned]
        self._paused.difference_update(ours)
        if ours:
            places = records.kafka_partitions(ours)
            self._consumer.resume(places)
            self._errands.wake(places)

    def commit(self, points: Mapping[TopicPartition, CommitPoint]) -> Future[CommitAnswer]:
        """Send one commit."""
        return self._errands.commit(points)

    def membership(self) -> Membership | None:
        """Who this is in the group. librdkafka gives something for who is no member, too, and a broker takes a
        transaction from that without any check."""
        if self._closed and self._listener is None:
            return None
        try:
            found = self._consumer.consumer_group_metadata()
        except (KafkaException, RuntimeError):  # closed, or ended
            return None
        return Membership(found) if is_member(found) else None

    def rejoin(self) -> None:
        """Leave the group and join it anew; calls `on_lost` at once.

        By a new client: the old one's commits, which librdkafka may hold back or repeat, bear its member id, and a
        static member, which does not leave, is fenced by its successor. The old one says goodbye after its commits.
        That needs no limit: a broker answers a connection's requests in turn, so heartbeats behind a commit without an
        answer have none either, and the session time-out ends the member unless a new connection
        (`socket.timeout.ms`) brings the answer first.
        """
        lost = sorted(self._assigned)
        self._forget(lost)
        if self._listener is not None and lost:
            self._listener.on_lost(lost)
        self._errands.close()
        self._connect()
        self._subscribe()

    def close(self, timeout_s: float) -> None:
        """Leave the group; librdkafka's own close has no limit where a broker does not answer."""
        if self._closed:
            return
        self._closed = True
        still = sorted(self._assigned)
        try:
            if still and self._listener is not None:
                self._listener.on_revoked(still)
        finally:
            self._forget(still)
            self._listener = None
            self._errands.close().join(timeout_s)

    # librdkafka's rebalance callbacks, inside polls. The binding assigns by itself where a callback has not, so each
    # does it whatever the listener raises; the binding then raises that from the poll.

    def _on_assign(self, consumer: Consumer, found: list[KafkaPartition]) -> None:
        ours = records.partitions(found)
        # At offset 0 and paused: nothing is read until the owner has sought.
        consumer.incremental_assign(records.kafka_partitions(ours, 0))
        if ours:
            consumer.pause(records.kafka_partitions(ours))
            self._assigned.update(ours)
            self._paused.update(ours)
            self._troubles.healthy()
            if self._listener is not None:
                self._listener.on_assigned(ours)

    def _on_revoke(self, consumer: Consumer, found: list[KafkaPartition]) -> None:
        ours = self._ours(consumer, found)
        try:
            if ours and self._listener is not None:
                self._listener.on_revoked(ours)
        finally:
            self._let_go(consumer, found, ours)

    def _on_lost(self, consumer: Consumer, found: list[KafkaPartition]) -> None:
        ours = self._ours(consumer, found)
        try:
            if ours and self._listener is not None:
                self._listener.on_lost(ours)
        finally:
            self._let_go(consumer, found, ours)

    def _ours(self, consumer: Consumer, found: list[KafkaPartition]) -> list[TopicPartition]:
        """Those that the listener has not lost already: by `rejoin` or `close`, on whose behalf a thread may be ending
        a client that was replaced."""
        if consumer is not self._consumer:
            return []
        return [one for one in records.partitions(found) if one in self._assigned]

    def _let_go(self, consumer: Consumer, found: list[KafkaPartition], ours: Sequence[TopicPartition]) -> None:
        taken_out = self._taken_out.intersection(ours)
        self._forget(ours)
        consumer.incremental_unassign([each for each in found if records.partition(each) not in taken_out])

    def _forget(self, partitions: Sequence[TopicPartition]) -> None:
        for known in (self._assigned, self._paused, self._ended, self._taken_out):
            known.difference_update(partitions)
