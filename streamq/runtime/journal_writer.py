"""The owner's transactions: one at a time, many partitions in it, and what becomes of each outcome (design, G4)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol, assert_never

from streamq.core.journal_batch import Letter
from streamq.core.journal_plan import plan
from streamq.core.lanes import Work
from streamq.core.parking import ParkedLanes
from streamq.core.partition import Phase
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import BrokerError, FencedError, RecordTooLargeError
from streamq.model.outcomes import Dead
from streamq.model.ports import ConsumerPort
from streamq.model.records import TopicPartition
from streamq.model.transactions import Aborted, Batch, Committed, Membership, OutcomeUnknown, Stale, TransactionResult
from streamq.runtime.committer import Committer
from streamq.runtime.journal_batches import Draft, Share, Whose, draft, share_of
from streamq.runtime.letters import TRIMS, Identity, tell_dead
from streamq.runtime.stats import OwnerStats

logger = logging.getLogger(__name__)

URGENT_S: Final = 0.05
"""From one transaction to the next while lanes leave or follow, or dead letters wait."""
SETTLED_S: Final = 0.5
"""While all there is to write is what was settled or failed again: it may gather."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
FENCED_TWICE_S: Final = 60.0
MOST_BYTES: Final = 900_000
MOST_NAMED: Final = 20
"""So many refusals that name a culprit are answered at once by a transaction without it."""
_FOR_EVER_MS: Final = 2**62
NO_RIGHT: Final = frozenset(
    {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "UNSUPPORTED_VERSION"}
)


def _pause_s(failures: int) -> float:
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))


class Transacting(Protocol):
    """What carries a transaction out, elsewhere: `Transactor`, or at once, in tests."""

    @property
    def busy(self) -> bool: ...
    def send(self, batch: Batch, membership: Membership) -> None: ...
    def take(self) -> TransactionResult | BrokerError | None: ...
    def wait(self, timeout_s: float) -> bool: ...
    def close(self, timeout_s: float) -> None: ...


class JournalWriter:
    """Owner thread only. A commit and a transaction are never under way at once."""

    def __init__(
        self,
        *,
        retry_topic: str,
        identity: Identity,
        consumer: ConsumerPort,
        committer: Committer,
        transactor: Transacting,
        clock: Clock,
        heartbeat_s: float,
        stats: OwnerStats,
    ) -> None:
        self._retry_topic = retry_topic
        self._identity = identity
        self._consumer = consumer
        self._committer = committer
        self._transactor = transactor
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._stats = stats
        self._draft: Draft | None = None
        self._sent_at = 0.0
        self._next_at = self._settled_at = 0.0
        self._failures = self._named = 0
        self._narrow = False
        self._paused: dict[TopicPartition, tuple[float, int]] = {}
        self._trims: Counter[tuple[TopicPartition, int]] = Counter()
        self._fenced_at: float | None = None
        self._told = False
        self.available = True
        self._retake: Callable[[Sequence[TopicPartition]], None] | None = None
        self._give_up_plainly: Callable[[Work, Dead], None] | None = None

    def attach(
        self, retake: Callable[[Sequence[TopicPartition]], None], give_up_plainly: Callable[[Work, Dead], None]
    ) -> None:
        """See `Parking.attach`."""
        self._retake, self._give_up_plainly = retake, give_up_plainly

    @property
    def busy(self) -> bool:
        """Whether a transaction is under way: no plain commit may be sent."""
        return self._draft is not None

    # Beginning

    def begin(self, now: float, parked: Sequence[ParkedLanes]) -> bool:
        """Begin a transaction if there is something to say. Whether one was begun."""
        if not self._may_begin or now < self._next_at:
            return False
        gather = now < self._settled_at
        ready = [lanes for lanes in parked if self._wanted(lanes, now, gather=gather)]
        if not ready:
            return False
        self._next_at = now + URGENT_S
        if not gather:
            self._settled_at = now + SETTLED_S
        return self._send(ready, now)

    @property
    def _may_begin(self) -> bool:
        return self.available and self._committer.quiet and not (self.busy or self._transactor.busy)

    def _wanted(self, lanes: ParkedLanes, now: float, *, gather: bool) -> bool:
        if lanes.batch is not None or lanes.state.phase is not Phase.OPEN or self._pause_ends(lanes) > now:
            return False
        if lanes.leaving or lanes.letters or lanes.standing or lanes.requests.jobs or lanes.requests.accepting:
            return True
        if lanes.state.parked and any(key in lanes.state.lanes for key in lanes.state.parked):
            return True
        return not gather and bool(lanes.heads.pending or lanes.heads.waits or lanes.live)

    def _pause_ends(self, lanes: ParkedLanes) -> float:
        return self._paused.get(lanes.state.partition, (0.0, 0))[0]

    def last(self, parked: Sequence[ParkedLanes]) -> bool:
        """Before partitions go: write what waits to be written of them. Whether a transaction was begun."""
        if not self._may_begin:
            return False
        now = self._clock.monotonic()
        ready = [
            lanes
            for lanes in parked
            if lanes.batch is None and self._pause_ends(lanes) <= now and (lanes.letters or lanes.heads.pending)
        ]
        return bool(ready) and self._send(ready, now)

    def _send(self, parked: Sequence[ParkedLanes], now: float) -> bool:
        membership = self._consumer.membership()
        if membership is None:
            return False
        now_ms = int(self._clock.time() * 1000)
        shares: list[Share] = []
        size_bytes = 0
        for lanes in parked:
            batch = plan(lanes, now_ms, most_records=1 if self._narrow else None)
            if batch is None:
                continue
            shares.append(share_of(lanes, batch))
            size_bytes += batch.size_bytes
            if self._narrow or 2 * size_bytes > MOST_BYTES:
                break
        if not shares:
            return False
        self._draft = draft(shares, self._retry_topic, self._identity, now_ms, self._trim_of)
        self._sent_at = now
        self._transactor.send(self._draft.batch, membership)
        return True

    def _trim_of(self, partition: TopicPartition, offset: int) -> int:
        return self._trims[partition, offset]

    # Ending

    def take(self, now: float) -> bool:
        """Take in what became of the one under way, if it is known. Whether it was.

        Raises:
            FencedError: another process uses the same transactional id.
        """
        if self._draft is None:
            return False
        result = self._transactor.take()
        if result is None:
            return False
        ended, self._draft = self._draft, None
        self._ended(ended, result, now)
        return True

    def _ended(self, ended: Draft, result: TransactionResult | BrokerError, now: float) -> None:
        match result:
            case Committed():
                self._committed(ended, result)
            case Aborted():
                self._abort(ended)
                self._refused(ended, result, now)
            case Stale():
                self._abort(ended)
                self._stats.transactions["stale"] += 1
                self._next_at = now + self._heartbeat_s
            case OutcomeUnknown():
                self._over(ended, result.error, now)
            case BrokerError():
                self._session_over(ended, result, now)
            case _:
                assert_never(result)

    def _committed(self, ended: Draft, result: Committed) -> None:
        self._stats.transactions["ok"] += 1
        self._failures = self._named = 0
        self._narrow = self._told = False
        for share, places in ended.places(result.places):
            share.parked.committed(share.batch, places)
            state = share.parked.state
            self._paused.pop(state.partition, None)
            self._committer.took(state, share.point, self._sent_at)
            for letter in share.batch.letters:
                self._trims.pop((state.partition, int(letter.record.offset)), None)
                self._stats.dead["chained" if letter.dead is None else letter.dead.reason] += 1
                if letter.dead is not None:
                    tell_dead(self._identity, letter.record, letter.attempts, letter.dead, share.parked.on_dead)

    def _abort(self, ended: Draft) -> None:
        for share in ended.shares:
            share.parked.aborted(share.batch)

    def _refused(self, ended: Draft, result: Aborted, now: float) -> None:
        """Nothing happened. Whoever is named is left out of the next one, which is tried at once."""
        self._stats.transactions["aborted"] += 1
        if result.record is None and result.partition is None:
            self._refused_for_no_reason(ended, result, now)
            return
        self._named += 1  # since the last that passed: whatever goes wrong, no refusal is repeated without end at once
        self._next_at = now if self._named <= MOST_NAMED else now + _pause_s(self._named - MOST_NAMED)
        if result.record is not None:
            self._leave_out(ended.whose[result.record], result)
        elif result.partition is not None:
            self._pause(result.partition.partition, ended, now)
            self._tell(result.error, "The transactions of a partition are refused: it waits, others go on")

    def _refused_for_no_reason(self, ended: Draft, result: Aborted, now: float) -> None:
        """Nobody says what it was: once more, then one partition and one record at a time, until one passes."""
        self._failures += 1
        self._narrow = self._failures > 1
        self._next_at = now + _pause_s(self._failures)
        if self._narrow and len(ended.shares) == 1:
            self._pause(ended.shares[0].parked.state.partition.partition, ended, now)
            self._next_at = now + URGENT_S
        if any(share.batch.letters for share in ended.shares):
            self._tell_letter(result.error)
        else:
            self._tell(result.error, "A transaction was refused: what it says waits, it is tried again")

    def _leave_out(self, refused: Whose, result: Aborted) -> None:
        """A record was refused: a dead letter loses headers first; one that was to go back stays; any other waits."""
        share, entry, letter = refused
        requests = share.parked.requests
        if letter is not None and isinstance(result.error, RecordTooLargeError) and self._trim(share, letter):
            return
        if entry is not None and requests.refused(share.batch, entry):
            self._tell(result.error, "The retry topic did not take a dead letter back: it stays open, others go on")
            return
        lanes = share.batch.keys if refused.lane is None else [refused.lane]
        share.parked.exclude(lanes, int(self._clock.time() * 1000) + int(LONGEST_PAUSE_S * 1000))
        if letter is not None:
            self._tell_letter(result.error)
        else:
            self._tell(result.error, "The retry topic did not take a record: it waits in its lane, others leave")

    def _trim(self, share: Share, letter: Letter) -> bool:
        """Make a dead letter smaller. False if that was done as far as it goes."""
        place = share.parked.state.partition, int(letter.record.offset)
        if self._trims[place] >= TRIMS:
            return False
        self._trims[place] += 1
        return True

    def _pause(self, number: int, ended: Draft, now: float) -> None:
        for share in ended.shares:
            partition = share.parked.state.partition
            if partition.partition == number:
                failures = self._paused.get(partition, (0.0, 0))[1] + 1
                self._paused[partition] = now + _pause_s(failures + 1), failures

    def _session_over(self, ended: Draft, error: BrokerError, now: float) -> None:
        if error.code in NO_RIGHT:
            self.available = False
            self._abort(ended)
            logger.error(
                "There is no right to transactions: failing records wait in their lanes and hold up their keys there, "
                "and a crash may repeat dead letters",
                extra={"event": "no_transactions", "group": self._identity.group, "error": str(error)},
            )
            return
        if isinstance(error, FencedError):
            if self._fenced_at is not None and now - self._fenced_at < FENCED_TWICE_S:
                raise FencedError(
                    f"{error}: fenced twice within a minute: another process uses the same transactional id; give each "
                    "worker an instance id of its own",
                    code=error.code,
                )
            self._fenced_at = now
        self._over(ended, error, now)

    def _over(self, ended: Draft, error: BrokerError, now: float) -> None:
        """Nobody knows whether it took effect: forget what it was about, and learn it anew."""
        self._stats.transactions["unknown"] += 1
        self._next_at = now + URGENT_S
        logger.error(
            "A transaction's outcome is unknown: its partitions are taken over anew, what ran since may run again",
            extra={"event": "transaction_unknown", "group": self._identity.group, "error": str(error)},
        )
        owned = [share.parked.state for share in ended.shares if share.parked.state.phase is not Phase.CLOSED]
        if self._retake is not None:
            self._retake([state.partition for state in owned])

    def without_transactions(self, lanes: ParkedLanes) -> None:
        """There is no right to them: what was about to leave waits in place, dead letters are written as well as it
        goes."""
        lanes.exclude(list(lanes.leaving), _FOR_EVER_MS)
        for work, dead in lanes.take_letters_back():
            if self._give_up_plainly is not None:
                self._give_up_plainly(work, dead)

    def _tell_letter(self, error: BrokerError) -> None:
        self._stats.dead_failures += 1
        self._tell(
            error,
            "The dead-letter topic did not take a record: the record stays unsettled, its key waits, it is tried again",
            "dead_letter_refused",
        )

    def _tell(self, error: BrokerError, sentence: str, event: str = "transaction_refused") -> None:
        if self._told:
            return
        self._told = True
        logger.error(sentence, extra={"event": event, "group": self._identity.group, "error": str(error)})

    # Leaving

    def settle(self, deadline: Deadline, meanwhile: Callable[[], None]) -> None:
        """Wait for the one under way, at most until the deadline; it then sends no more for what is gone."""
        while self.busy and not deadline.expired():
            self._transactor.wait(min(0.02, deadline.remaining_s()))
            self.take(self._clock.monotonic())
            if self.busy:
                meanwhile()

    def close(self, timeout_s: float) -> None:
        """End the thread."""
        self._transactor.close(timeout_s)
