"""One operator's request about dead letters, carried out by the owner of its partition.

    look ──► which of its letters are open ──► none: nothing to do
      │
      ▼
    hold their keys (redrive) ──► accept: up to where letters count ──► look on ──► read and move, a piece at a time

It is looked first, so that a request which comes late holds no key and ends no state on behalf of letters that are long
redriven. No other request takes letters meanwhile, and only the owner writes marks, so what was open stays open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import Final

from streamq.core.journal_batch import OpenLetter
from streamq.core.journal_records import Entry, Request
from streamq.core.parking import ParkedLanes
from streamq.core.redriven import UnusableLetterError, entry_of
from streamq.core.request_parameters import Purge, Redrive, keys_of
from streamq.core.requests import Job
from streamq.model.records import Record, TopicPartition
from streamq.runtime.letter_reader import LetterReader, Piece, Wanted
from streamq.runtime.stable_end import Range, StableEnd

logger = logging.getLogger(__name__)

EndsOf = Callable[[TopicPartition], StableEnd]
"""Asks where a dead-letter partition begins and ends."""

FEW: Final = 200
"""With fewer letters left to be moved, more are read."""


class Step(Enum):
    """What is to be done next."""

    LOOK = "look"
    HOLD = "hold"
    ACCEPT = "accept"
    MOVE = "move"
    OVER = "over"


class Serving:
    """Owner thread only. `advance` blocks nothing and raises what a broker answered; it may be called again then."""

    def __init__(
        self,
        parked: ParkedLanes,
        request: Request,
        asked: Redrive | Purge,
        *,
        place: TopicPartition,
        group: str,
    ) -> None:
        self.parked = parked
        self.request_id = request.request_id
        self._asked = asked
        self._place = place
        self._group = group
        self._step = Step.LOOK
        self._accepted = request.letters_end
        self._marked: set[int] = set()
        self._open: dict[int, bytes | None] = {}
        """Letters that it names and their keys; those that turn out to be marked go."""
        self._looked_to: int | None = None
        self._ends: StableEnd | None = None
        self._range: Range | None = None
        self._reading: Future[Piece] | None = None
        self._left: list[int] = []
        self._edits: dict[int, bytes | None] = {}
        if isinstance(asked, Redrive):
            self._edits = dict(asked.edits)
            self._open = {offset: one.key for one in asked.letters for offset in one.offsets}
        else:
            self._open = dict.fromkeys(asked.offsets)
        self._follow_from = asked.follow_from if isinstance(asked, Redrive) else None

    def advance(self, reader: LetterReader, ends: EndsOf, now: float) -> bool:
        """Go on as far as the answers allow. Whether there was anything to do.

        Raises:
            BrokerError: what is asked for cannot be had now.
            JournalError: a mark that cannot be read: nobody knows which letters are open.
        """
        before = self._step, self._looked_to, len(self._left)
        match self._step:
            case Step.LOOK:
                self._look(reader, ends, now)
            case Step.HOLD:
                self._hold()
            case Step.ACCEPT:
                self._accept(ends, now)
            case Step.MOVE:
                self._move(reader)
            case Step.OVER:
                pass
        return before != (self._step, self._looked_to, len(self._left))

    def again(self) -> None:
        """What was asked for did not come: ask anew. What is known stays, but for where the partition begins."""
        self._ends = self._range = self._reading = None
        if self._step is Step.MOVE:
            self._step = Step.LOOK

    # Which letters are open

    def _look(self, reader: LetterReader, ends: EndsOf, now: float) -> None:
        found = self._decided(ends, now)
        if found is None:
            return
        if self._looked_to is None:
            following = () if self._follow_from is None else (self._follow_from,)
            self._looked_to = min([*self._open, *following], default=found.end)
        self._looked_to = max(self._looked_to, found.start)
        if self._looked_to < found.end:
            self._read_on(reader, found.end)
            return
        self._range = None
        job = self.parked.requests.jobs.get(self.request_id)
        self._open = {
            at: key
            for at, key in self._open.items()
            if at not in self._marked and found.start <= at < found.end and (job is None or _holds(job, key))
        }
        if job is None:
            self._step = Step.HOLD
        else:
            self._begin_to_move()

    def _begin_to_move(self) -> None:
        self._left = sorted(self._open)
        self._step = Step.MOVE

    def _decided(self, ends: EndsOf, now: float) -> Range | None:
        if self._range is None:
            self._ends = self._ends or ends(self._place)
            self._range = self._ends.take(now)
            if self._range is not None:
                self._ends = None
        return self._range

    def _read_on(self, reader: LetterReader, until: int) -> None:
        if self._reading is None:
            keys = frozenset(keys_of(self._asked.letters)) if isinstance(self._asked, Redrive) else frozenset()
            wanted = Wanted(frozenset(), keys, self._follow_from)
            self._reading = reader.read(self._place, self._looked_to or 0, until, wanted)
        piece = self._taken()
        if piece is None:
            return
        self._marked.update(piece.marked)
        self._looked_to = piece.next_offset
        for letter in piece.letters:
            if self._accepted is None or letter.offset < self._accepted:
                self._open[letter.offset] = letter.key

    def _taken(self) -> Piece | None:
        if self._reading is None or not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    # Holding and accepting

    def _hold(self) -> None:
        """Only keys of which a letter is open are held, and those that a former owner held for this request."""
        requests = self.parked.requests
        keys = {key for key in self._open.values() if key is not None}
        states = [standing.state for standing in self.parked.standing.values()]
        keys |= {state.key for state in states if state.kind == "redriving" and state.request_id == self.request_id}
        if not self._open and not keys:
            requests.release(self.request_id, ())
            self._step = Step.OVER
        elif isinstance(self._asked, Purge):
            if requests.purge(self.request_id):
                self._begin_to_move()
        elif self.parked.redrive(self.request_id, keys):
            self._step = Step.ACCEPT

    def _accept(self, ends: EndsOf, now: float) -> None:
        """What follows a chained key comes to an end when the key is held. From there on no letter counts."""
        requests = self.parked.requests
        job = requests.jobs[self.request_id]
        if any(key in requests.stopping for key in job.keys) or self.request_id in requests.accepting:
            return
        if self._follow_from is None:
            self._begin_to_move()
            return
        if self._accepted is None:
            found = self._decided(ends, now)
            if found is not None:
                self._accepted = found.end
                requests.accept(self.request_id, found.end)
            return
        self._step = Step.LOOK

    # Moving

    def _move(self, reader: LetterReader) -> None:
        requests = self.parked.requests
        job = requests.jobs.get(self.request_id)
        if job is None or job.complete:
            self._step = Step.OVER
        elif isinstance(self._asked, Purge) or not self._left:
            requests.move(self.request_id, [OpenLetter(at, None) for at in self._left], complete=True)
            self._step = Step.OVER
        elif len(job.letters) < FEW:
            self._read_letters(reader)

    def _read_letters(self, reader: LetterReader) -> None:
        if self._reading is None:
            self._reading = reader.read(self._place, self._left[0], self._left[-1] + 1, Wanted(frozenset(self._left)))
        piece = self._taken()
        if piece is None:
            return
        moved = [OpenLetter(int(letter.offset), entry) for letter in piece.letters if (entry := self._entry(letter))]
        for at in [at for at in self._left if at < piece.next_offset]:
            del self._open[at]
        self._left = [at for at in self._left if at >= piece.next_offset]
        self.parked.requests.move(self.request_id, moved, complete=not self._left)

    def _entry(self, letter: Record) -> Entry | None:
        index = self.parked.index
        if letter.key != self._open[letter.offset]:
            _tell_unusable(letter, "it has another key than the one that it was named with")
            return None
        try:
            entry = entry_of(letter, self._group, index.topic_id, index.incarnation)
        except UnusableLetterError as error:
            _tell_unusable(letter, str(error))
            return None
        return entry._replace(value=self._edits.get(letter.offset, entry.value))


def _tell_unusable(letter: Record, error: str) -> None:
    logger.warning(
        "A dead letter cannot be redriven here: it stays open, the others of the request go on",
        extra={
            "event": "letter_unusable",
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "error": error,
        },
    )


def _holds(job: Job, key: bytes | None) -> bool:
    """Whether a letter of this key may be moved: a record without one is a lane of its own."""
    return key is None or key in job.keys or not job.holds
