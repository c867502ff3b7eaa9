"""One partition's share of the next transaction, put together from what waits for it.

In this order, as far as there is room: dead letters; what follows a chained key; lanes that leave; records that follow
a parked key; what requests do; entries appended anew to shorten the journal; and always all settlements and waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamq.core.journal_batch import JournalBatch, Letter, ParkPolicy, Taken
from streamq.core.journal_records import Entry, JournalRecord, KeyState, KeyStateKind, Request, Waits, settled
from streamq.core.lanes import Lane, LaneKey
from streamq.core.marks import LetterMark
from streamq.core.parked_heads import ParkedWork
from streamq.core.parking import ParkedLanes
from streamq.core.payload_window import size_of
from streamq.core.requests import Job
from streamq.model.errors import InvariantError
from streamq.model.records import Record

_OVERHEAD_BYTES = 128  # of a record in a batch: headers of ours, lengths
_LETTER_BYTES = 8_000  # its context, stack included


class Draft:
    """A batch in the making."""

    def __init__(self, policy: ParkPolicy, most_records: int | None) -> None:
        self._most_records = policy.batch_records if most_records is None else most_records
        self._most_bytes = policy.batch_bytes
        self.records: list[JournalRecord] = []
        self.letters: list[Letter] = []
        self.marks: list[LetterMark] = []
        self.taken: list[Taken] = []
        self.with_it: set[int] = set()
        self.gone: list[int] = []
        self.given_up: list[LaneKey] = []
        self.moved: list[LaneKey] = []
        self.redriven: list[tuple[bytes, int]] = []
        self.finished: list[bytes] = []
        self.held: list[bytes] = []
        self.touched: set[LaneKey] = set()
        self.size_bytes = 0

    def admits(self, size_bytes: int = 0) -> bool:
        """Whether one more of this size fits. The first always does."""
        count = len(self.records) + len(self.letters) + len(self.marks)
        return not count or (
            count < self._most_records and self.size_bytes + size_bytes + _OVERHEAD_BYTES <= self._most_bytes
        )

    def append(self, record: JournalRecord, size_bytes: int = 0) -> None:
        """A journal record more."""
        self.records.append(record)
        self.size_bytes += size_bytes + _OVERHEAD_BYTES

    def mark(self, mark: LetterMark) -> None:
        """A letter more that is no longer open."""
        self.marks.append(mark)
        self.size_bytes += _OVERHEAD_BYTES

    def letter(self, letter: Letter, size_bytes: int) -> None:
        """A dead letter more."""
        self.letters.append(letter)
        self.size_bytes += size_bytes + _LETTER_BYTES


def plan(parked: ParkedLanes, now_ms: int, *, most_records: int | None = None) -> JournalBatch | None:
    """What the next transaction says of the partition, None if there is nothing to say. It is under way from here on,
    until `committed` or `aborted`. `most_records` narrows it, to find what a broker refuses.

    Raises:
        InvariantError: one is under way.
    """
    if parked.batch is not None:
        raise InvariantError(f"{parked.state.partition}: a second transaction while one is under way")
    draft = Draft(parked.policy, most_records)
    planner = Planner(parked, draft, now_ms)
    planner.fill()
    heads = parked.heads
    if not (draft.records or draft.letters or draft.marks or draft.gone or heads.pending or heads.waits):
        return None
    parked.batch = batch = planner.finish()
    for key in batch.moved:
        heads.withhold(key)
    return batch


class Planner:
    """Fills a draft."""

    def __init__(self, parked: ParkedLanes, draft: Draft, now_ms: int) -> None:
        self._parked = parked
        self._draft = draft
        self._out = {key for key, until_ms in parked.excluded.items() if until_ms > now_ms}

    def fill(self) -> None:
        """All kinds, in order."""
        self._letters()
        self._chained()
        self._leaving()
        self._following()
        self._requests()
        self._anew()

    def finish(self) -> JournalBatch:
        """The batch, with the source's offset and map of this moment."""
        parked, draft = self._parked, self._draft
        gone, pending = set(draft.gone), parked.heads.pending
        if gone or pending:
            draft.append(settled([*gone, *pending]), 3 * (len(gone) + len(pending)))
        waits = [wait for place, wait in sorted(parked.heads.waits.items()) if place not in gone]
        if waits:
            draft.append(Waits(tuple(waits)), 12 * len(waits))
        offsets = parked.state.snapshot(
            parked.process, settled_with_it=draft.with_it, journal=parked.mark
        )  # fmt: skip
        return JournalBatch(
            records=tuple(draft.records),
            letters=tuple(draft.letters),
            marks=tuple(draft.marks),
            offsets=offsets,
            size_bytes=draft.size_bytes,
            taken=tuple(draft.taken),
            gone=tuple(draft.gone),
            written=len(pending),
            given_up=tuple(draft.given_up),
            moved=tuple(draft.moved),
            redriven=tuple(draft.redriven),
            finished=tuple(draft.finished),
            held=tuple(draft.held),
        )

    def _free(self, key: LaneKey) -> bool:
        """Whether the key may have a part in this batch."""
        return key not in self._out and key not in self._draft.touched

    def _state(self, key: bytes, kind: KeyStateKind, request_id: bytes = b"") -> None:
        standing = self._parked.standing.get(key)
        if standing is not None:
            self._draft.gone.append(standing.place)
        self._draft.append(KeyState(key, kind, request_id), len(key))

    # Dead letters

    def _letters(self) -> None:
        parked, draft = self._parked, self._draft
        for key, (work, dead) in parked.letters.items():
            if not self._free(key) or key in parked.standing or key in parked.requests.stopping:
                continue
            if not draft.admits(work.size_bytes + _LETTER_BYTES):
                return
            draft.letter(Letter(work.record, work.attempt, dead), work.size_bytes)
            draft.given_up.append(key)
            draft.touched.add(key)
            if isinstance(work, ParkedWork):
                draft.gone.append(work.place)
            else:
                draft.taken.append(Taken(work.lane, 1))
                draft.with_it.add(work.record.offset)
            if isinstance(key, bytes) and parked.on_dead != "skip":
                self._state(key, "chained" if parked.on_dead == "chain" else "held")

    def _chained(self) -> None:
        """Later records of a chained key follow it: its entries first, then its lane."""
        parked = self._parked
        for key, standing in parked.standing.items():
            if standing.state.kind != "chained" or key in parked.requests.stopping or not self._free(key):
                continue
            lane = parked.state.lanes.get(key)
            if self._chain_entries(key) and lane is not None:
                self._chain_lane(lane)

    def _chain_entries(self, key: LaneKey) -> bool:
        """True if all of them are in."""
        parked, draft = self._parked, self._draft
        count = parked.index.count(key)
        places = parked.index.first(key, parked.policy.batch_records) if count else ()
        for place in places:
            entry, known = parked.heads.window.get(place), parked.index.entry(place)
            if entry is None or known is None:
                self._ask(places)
                return False
            if not draft.admits(size_of(entry) + _LETTER_BYTES):
                return False
            draft.letter(Letter(self._record(entry), known.attempts, None), size_of(entry))
            draft.gone.append(place)
            draft.touched.add(key)
        return len(places) == count

    def _ask(self, places: Sequence[int]) -> None:
        """Some payloads of these are not here: the next batch will want them. No more than may be spare."""
        window = self._parked.heads.window
        for place in places[: self._parked.policy.window_records // 4]:
            window.want(place)

    def _chain_lane(self, lane: Lane) -> None:
        draft, count = self._draft, 0
        for work in lane.queue:
            if not draft.admits(work.size_bytes + _LETTER_BYTES):
                break
            draft.letter(Letter(work.record, work.attempt, None), work.size_bytes)
            draft.with_it.add(work.record.offset)
            count += 1
        self._take(lane, count)

    def _record(self, entry: Entry) -> Record:
        return self._parked.heads.record(entry)

    # Transfer

    def _leaving(self) -> None:
        for key, leaving in self._parked.leaving.items():
            lane = self._parked.state.lanes.get(key)
            if lane is not None and self._free(key):
                self._transfer(lane, leaving.next_at_ms)

    def _following(self) -> None:
        state, index = self._parked.state, self._parked.index
        if state.ordering == "partition":
            return
        keys = state.parked if len(state.parked) < len(state.lanes) else state.lanes
        for key in list(keys):
            lane = state.lanes.get(key)
            if lane is None or key not in state.parked or not self._free(key):
                continue
            if (key in index or key in self._parked.standing) and self._follows(lane):
                self._transfer(lane, 0)

    def _follows(self, lane: Lane) -> bool:
        parked, policy = self._parked, self._parked.policy
        standing = parked.standing.get(lane.key)
        if lane.key in parked.letters or (standing is not None and standing.state.kind == "chained"):
            return False
        if (standing is not None and standing.state.kind == "held") or parked.pressed:
            return True
        few = standing is not None or parked.index.count(lane.key) <= policy.few
        return not few or len(lane.queue) > policy.keep

    def _transfer(self, lane: Lane, next_at_ms: int) -> None:
        """From the head on, nothing left out."""
        draft, index, count = self._draft, self._parked.index, 0
        for work in lane.queue:
            record = work.record
            entry = Entry(
                record.key, record.value, record.headers, record.timestamp_ms,
                index.topic_id, index.incarnation, record.offset, work.attempt, 0 if count else next_at_ms,
            )  # fmt: skip
            if not draft.admits(size_of(entry)):
                break
            draft.append(entry, size_of(entry))
            draft.with_it.add(record.offset)
            count += 1
        self._take(lane, count)

    def _take(self, lane: Lane, count: int) -> None:
        if count:
            self._draft.taken.append(Taken(lane, count))
            self._draft.touched.add(lane.key)

    # Requests

    def _requests(self) -> None:
        requests, draft = self._parked.requests, self._draft
        for key in sorted(requests.quiet):
            if draft.admits(len(key)) and self._free(key):
                self._state(key, "redriving", requests.stopping[key])
                draft.held.append(key)
                draft.touched.add(key)
        for request_id in requests.accepting:
            self._request_anew(request_id)
        for job in requests.jobs.values():
            if job.request_id not in requests.accepting and self._in_effect(job):
                self._job(job)

    def _request_anew(self, request_id: bytes) -> None:
        place, request = self._parked.requests.anew(request_id)
        if self._draft.admits(len(request.parameters)):
            self._draft.append(request, len(request.parameters))
            self._draft.gone.append(place)

    def _in_effect(self, job: Job) -> bool:
        """Whether the journal says that all the keys which a request holds are held by it."""
        known = [self._parked.standing.get(key) for key in job.keys] if job.holds else []
        return all(one is not None and one.state.request_id == job.request_id for one in known)

    def _job(self, job: Job) -> None:
        draft, count = self._draft, 0
        for letter_offset, entry in job.letters:
            size_bytes = 0 if entry is None else size_of(entry)
            if not draft.admits(2 * size_bytes):
                break
            if entry is not None:
                draft.append(entry, size_bytes)
            draft.mark(LetterMark(letter_offset, job.request_id, "purged" if entry is None else "redriven"))
            count += 1
        if count:
            draft.redriven.append((job.request_id, count))
        if job.complete and count == len(job.letters):
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        """All is moved: its keys run again, and it is done with."""
        draft, standing, left = self._draft, self._parked.standing, False
        for key in sorted(job.keys):
            if key not in standing:
                continue
            state = standing[key].state
            others = state.kind == "redriving" and state.request_id != job.request_id
            if not others and draft.admits(len(key)) and self._free(key):
                self._state(key, "cleared")
                draft.touched.add(key)
            else:
                left = True
        if not left:
            draft.gone.append(self._parked.requests.place(job.request_id))
            draft.finished.append(job.request_id)

    # The journal's length

    def _anew(self) -> None:
        """The oldest of what is live comes to the end, so that the beginning can be deleted."""
        parked, policy = self._parked, self._parked.policy
        # From the oldest live record, not from the beginning: what lies below is deleted without this, or cannot be.
        if parked.end - parked.oldest <= 2 * parked.live + policy.slack:
            return
        places = parked.index.oldest(policy.batch_records // 2)
        moved: set[LaneKey] = set()
        for place in places:
            if not self._entry_anew(place, moved):
                self._ask(places)
                break
        self._draft.moved.extend(moved)
        self._draft.touched |= moved
        self._others_anew(places[-1] if places else parked.end)

    def _others_anew(self, bound: int) -> None:
        """States and requests that stand below `bound`, the oldest first: there may be more than a batch holds."""
        parked = self._parked
        live: list[tuple[int, KeyState | Request]] = [(place, state) for state, place in parked.standing.values()]
        live += [(parked.requests.place(request.request_id), request) for request in parked.requests]
        for place, record in sorted(live, key=lambda one: one[0]):
            if place >= bound or place in self._draft.gone:
                continue
            if isinstance(record, Request):
                self._request_anew(record.request_id)
            elif self._draft.admits(len(record.key)) and self._free(record.key):
                self._state(record.key, record.kind, record.request_id)
                self._draft.touched.add(record.key)

    def _entry_anew(self, place: int, moved: set[LaneKey]) -> bool:
        """False if there is no going on in this batch."""
        parked, draft = self._parked, self._draft
        known = parked.index.entry(place)
        if known is None or not self._free(known.lane) or place in draft.gone:
            return True
        if known.lane in parked.heads.lanes or known.lane in parked.letters:
            return True  # it has its turn: soon settled, most likely
        entry = parked.heads.window.get(place)
        if entry is None:
            return False
        if not draft.admits(size_of(entry)):
            return False
        draft.append(entry._replace(attempts=known.attempts, next_at_ms=known.next_at_ms), size_of(entry))
        draft.gone.append(place)
        moved.add(known.lane)
        return True
