"""A group member and a reader of the in-memory cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from streamq.model.clock import Deadline
from streamq.model.errors import FatalBrokerError, FencedError, OutcomeUnknownError, StaleMemberError
from streamq.model.ports import (
    NOTHING_POLLED,
    CommitAnswer,
    ConsumerOptions,
    Isolation,
    Polled,
    RebalanceListener,
)
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.model.transactions import Membership
from streamq.testing.memory.fetcher import Fetcher
from streamq.testing.memory.groups import Member
from streamq.testing.memory.transactions import MemoryMembership
from streamq.testing.memory.world import World, unreachable


class MemoryReader:
    """See `ReaderPort`."""

    def __init__(self, world: World, isolation: Isolation) -> None:
        self._world = world
        self._fetcher = Fetcher(world, isolation)
        self._closed = False

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        """Read these and no others, from there on."""
        with self._world.lock:
            self._fetcher.remove(self._fetcher.assigned)
            self._fetcher.add(positions)
            for partition, next_offset in positions.items():
                self._fetcher.seek(partition, next_offset)
            self._fetcher.pause(positions, paused=False)

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As the port says."""
        world = self._world
        deadline = Deadline(world.clock, timeout_s)
        world.run_due()
        while True:
            if self._closed:
                raise FatalBrokerError("polling: this reader is closed")
            seen = world.version
            with world.lock:
                polled = self._fetcher.take(max_records)
            if polled.records or polled.events:
                return polled
            if not world.wait(seen, deadline):
                return NOTHING_POLLED

    def close(self) -> None:
        """Read nothing more."""
        self._closed = True


class MemoryConsumer:
    """See `ConsumerPort`. Joins its group at its first poll."""

    def __init__(self, world: World, options: ConsumerOptions) -> None:
        self.options = options
        self.member: Member | None = None
        self._world = world
        self._fetcher = Fetcher(world, "read_committed")
        self._topic = ""
        self._listener: RebalanceListener | None = None
        self._closed = False
        self._has_left = False
        self.crashed = False

    # The port

    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        """Join the group, at the next poll."""
        self._topic, self._listener = topic, listener

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As the port says."""
        world = self._world
        deadline = Deadline(world.clock, timeout_s)
        world.run_due()
        while True:
            self._check_usable("polling")
            seen = world.version
            rebalanced = self._heed_group()
            with world.lock:
                polled = self._fetcher.take(max_records)
            if polled.records or polled.events:
                return polled
            if rebalanced or not world.wait(seen, deadline):
                return NOTHING_POLLED

    def seek(self, partition: TopicPartition, next_offset: NextOffset) -> None:
        """Set the position of an assigned partition."""
        with self._world.lock:
            self._fetcher.seek(partition, next_offset)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Poll nothing more of these."""
        with self._world.lock:
            self._fetcher.pause(partitions, paused=True)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """The opposite of `pause`."""
        with self._world.lock:
            self._fetcher.pause(partitions, paused=False)
        self._world.changed()

    def commit(self, points: Mapping[TopicPartition, CommitPoint]) -> Future[CommitAnswer]:
        """Send one commit, with the membership of this moment."""
        world = self._world
        with world.lock:
            member = self.member
            generation = member.generation if member is not None else -1
            fault = world.faults.next_commit()
        sent = dict(points)

        def arrive() -> CommitAnswer:
            with world.lock:
                if self.crashed:
                    return dict.fromkeys(sent, OutcomeUnknownError("commit: the process is gone"))
                if world.is_away:
                    return dict.fromkeys(sent, unreachable("commit"))
                if fault is not None and fault.error is not None and not fault.happens:
                    return dict.fromkeys(sent, fault.error)
                if member is None:
                    return dict.fromkeys(sent, StaleMemberError("commit: no member yet", code="UNKNOWN_MEMBER_ID"))
                answer = world.groups.commit(member, generation, sent)
                return answer if fault is None or fault.error is None else dict.fromkeys(sent, fault.error)

        return world.answer(fault.delay_s if fault is not None else 0.0, arrive)

    def membership(self) -> Membership | None:
        """Who this is in the group, as far as it knows."""
        member = self.member
        if self._has_left or self.crashed or member is None or not member.generation:
            return None
        return Membership(MemoryMembership(member, member.generation))

    def rejoin(self) -> None:
        """Leave the group; the next poll joins it anew."""
        self._check_usable("rejoining")
        with self._world.lock:
            if self.member is not None:
                self._world.groups.leave(self.member)
                self.member = None
        self._lose()
        self._world.changed()

    def close(self, timeout_s: float) -> None:
        """Leave the group. A static member stays one until its session is over."""
        if self._closed:
            return
        self._closed = True
        if self.crashed:
            return
        still = self._fetcher.assigned
        if still and self._listener is not None:
            if self._is_member():
                self._listener.on_revoked(still)
            else:
                self._listener.on_lost(still)
        self._has_left = True
        with self._world.lock:
            self._fetcher.remove(still)
            if self.member is not None:
                if self.options.instance_id is None:
                    self._world.groups.leave(self.member)
                else:
                    self.fall_silent()
        self._world.changed()

    # What happens to its process

    def fall_silent(self) -> None:
        """No heartbeats from now on."""
        if self.member is not None and self.member.silent_since is None:
            self.member.silent_since = self._world.clock.monotonic()

    def be_heard(self) -> None:
        """Heartbeats again."""
        if self.member is not None:
            self.member.silent_since = None

    # The group, inside polls

    def _heed_group(self) -> bool:
        """Do what the coordinator asks for. Whether the listener was called."""
        world = self._world
        if self._listener is None or world.is_away:
            return False
        with world.lock:
            member = self.member
            if member is not None and member.replaced:
                raise FencedError(
                    f"group {self.options.group}: another process has the static identity {self.options.instance_id}",
                    code="FENCED_INSTANCE_ID",
                )
            gone = member is not None and not world.groups.is_member(member)
            if gone:
                self.member = None
        if gone and self._fetcher.assigned:
            self._lose()
            return True
        if self.member is None:
            self._join()
        return self._reconcile(self._listener)

    def _join(self) -> None:
        with self._world.lock:
            self.member = self._world.groups.join(self.options, self._topic)
        self._world.changed()

    def _reconcile(self, listener: RebalanceListener) -> bool:
        """First give back, then take."""
        world, member = self._world, self.member
        if member is None:
            return False
        with world.lock:
            world.groups.heard(member)
            leaving = world.groups.to_release(member)
        if leaving:
            listener.on_revoked(leaving)
            with world.lock:
                self._fetcher.remove(leaving)
                world.groups.released(member, leaving)
            world.changed()
            return True
        with world.lock:
            taken = world.groups.take(member) if world.groups.is_member(member) else []
            self._fetcher.add(taken)
        if taken:
            listener.on_assigned(taken)
        return bool(taken)

    def _lose(self) -> None:
        with self._world.lock:
            lost = self._fetcher.assigned
            self._fetcher.remove(lost)
        if lost and self._listener is not None:
            self._listener.on_lost(lost)

    def _is_member(self) -> bool:
        with self._world.lock:
            return self.member is not None and not self.member.replaced and self._world.groups.is_member(self.member)

    def _check_usable(self, what: str) -> None:
        if self._closed or self.crashed:
            raise FatalBrokerError(f"{what}: this consumer {'is closed' if self._closed else 'has crashed'}")
