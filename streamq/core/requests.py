"""Operators' requests that stand open in the journal, and how far the owner is with each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streamq.core.journal_batch import JournalBatch, OpenLetter
from streamq.core.journal_records import Entry, Request
from streamq.model.errors import InvariantError


@dataclass(slots=True)
class Job:
    """What the owner does for a request. `keys` are held by it (redrive), or let go by it (release). `takes` says
    whether it takes letters (redrive, purge)."""

    request_id: bytes
    keys: set[bytes]
    holds: bool
    takes: bool = False
    letters: deque[OpenLetter] = field(default_factory=deque)
    complete: bool = False
    """Whether all its letters are known."""


class OpenRequests:
    """By id. A request that was sent twice is carried out once."""

    def __init__(self) -> None:
        self.jobs: dict[bytes, Job] = {}
        self.stopping: dict[bytes, bytes] = {}
        """Keys that a request is to hold, and the request; until the journal says that they are held."""
        self.quiet: set[bytes] = set()
        """Those of which nothing runs any more."""
        self.accepting: dict[bytes, int] = {}
        """Requests to be written anew with the end of the dead-letter partition."""
        self._open: dict[bytes, tuple[int, Request]] = {}
        self._own: set[int] = set()
        self._superseded: set[int] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Request]:
        return (request for _, request in self._open.values())

    def places(self) -> Iterator[int]:
        """Where they stand."""
        return (place for place, _ in self._open.values())

    def place(self, request_id: bytes) -> int:
        """Where one stands.

        Raises:
            InvariantError: it is not open.
        """
        return self._of(request_id)[0]

    def _of(self, request_id: bytes) -> tuple[int, Request]:
        found = self._open.get(request_id)
        if found is None:
            raise InvariantError(f"request {request_id.hex()} is not open")
        return found

    # What the journal says

    def learn(self, place: int, request: Request) -> None:
        """A takeover reads a request: sent, sent twice, or written anew."""
        known = self._open.get(request.request_id)
        if known is not None:
            self._superseded.add(known[0])
        self._open[request.request_id] = (place, request)

    def superseded(self) -> list[int]:
        """Places, after a takeover, of requests that stand further on as well: to be settled, lest they be carried out
        once more."""
        found, self._superseded = sorted(self._superseded), set()
        return found

    def add(self, place: int, request: Request) -> int | None:
        """An owner reads on. Returns the place to be settled if the request is open already."""
        if place in self._own:
            self._own.discard(place)
        elif request.request_id in self._open:
            return place
        else:
            self._open[request.request_id] = (place, request)
        return None

    def accepted(self, place: int, request: Request) -> None:
        """The owner has written a request anew."""
        self._open[request.request_id] = (place, request)
        self._own.add(place)
        self.accepting.pop(request.request_id, None)

    def settled(self, place: int) -> None:
        """A takeover reads that what stands at a place is settled."""
        self._superseded.discard(place)
        for request_id, (at, _) in list(self._open.items()):
            if at == place:
                del self._open[request_id]

    # What the owner does

    def accept(self, request_id: bytes, letters_end: int) -> None:
        """Write the request anew with the end that the dead-letter partition has now."""
        self._of(request_id)
        self.accepting[request_id] = letters_end

    def anew(self, request_id: bytes) -> tuple[int, Request]:
        """Where a request stands, and how it is written anew."""
        place, request = self._of(request_id)
        letters_end = self.accepting.get(request_id, request.letters_end)
        return place, request._replace(letters_end=letters_end)

    def redrive(self, request_id: bytes, keys: Iterable[bytes], holders: Mapping[bytes, bytes]) -> bool:
        """Hold these keys for a request, as soon as nothing of them runs. `holders` says which keys are held by which
        request already: a former owner's work, gone on with. False if another redrive is to be finished first: two
        would move the same letters."""
        self._of(request_id)
        if self.taking or any(one != request_id for one in holders.values()):
            return False
        self.jobs[request_id] = Job(request_id, set(keys), holds=True, takes=True)
        for key in self.jobs[request_id].keys.difference(holders):
            self.stopping[key] = request_id
        return True

    @property
    def taking(self) -> bool:
        """Whether a request takes letters at this time: a second one would take the same."""
        return any(job.takes for job in self.jobs.values())

    def purge(self, request_id: bytes) -> bool:
        """Close letters without moving them (`move`, each without an entry). False if another request that takes
        letters is to be finished first."""
        self._of(request_id)
        if self.taking:
            return False
        self.jobs[request_id] = Job(request_id, set(), holds=False, takes=True)
        return True

    def release(self, request_id: bytes, keys: Iterable[bytes]) -> None:
        """Let these keys go, and be done with the request."""
        self._of(request_id)
        self.jobs[request_id] = Job(request_id, set(keys), holds=False, complete=True)

    def move(self, request_id: bytes, letters: Iterable[OpenLetter], *, complete: bool) -> None:
        """Open letters that a redrive or purge takes; `complete` with the last of them. In which order a key's come
        does not matter: it is held until all are there, and its entries run by source offset."""
        job = self.jobs[request_id]
        job.letters.extend(letters)
        job.complete = complete

    def refused(self, batch: JournalBatch, entry: Entry) -> bool:
        """The journal did not take this record of a batch that was aborted. If a letter was moved by it, that stays
        open, and the others go on."""
        for request_id, _ in batch.redriven:
            letters = self.jobs[request_id].letters
            for letter in letters:
                if letter.entry is entry:
                    letters.remove(letter)
                    return True
        return False

    def to_stop(self) -> list[bytes]:
        """Keys that are to be held and of which something may still run."""
        return [key for key in self.stopping if key not in self.quiet] if self.stopping else []

    def stopped(self, key: bytes) -> None:
        """Nothing of the key runs any more."""
        self.quiet.add(key)

    def written(self, batch: JournalBatch) -> None:
        """A batch took effect."""
        for request_id, count in batch.redriven:
            letters = self.jobs[request_id].letters
            for _ in range(count):
                letters.popleft()
        for request_id in batch.finished:
            self.jobs.pop(request_id, None)
            self._open.pop(request_id, None)
        for key in batch.held:
            self.stopping.pop(key, None)
            self.quiet.discard(key)
