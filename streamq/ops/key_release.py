"""`release`: a key that is held goes on, after its head was given another chance, or without it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from streamq.core.journal_records import KeyStateKind
from streamq.core.request_parameters import KeyLetters, Parameters, Redrive, Release, request_of
from streamq.model.errors import ConfigError
from streamq.ops.letter_selection import Asked, Place, Selection
from streamq.ops.open_requests import OpenRequestsView, understood


def releases(
    view: OpenRequestsView, selection: Selection, key: bytes, shown: str, *, skip_head: bool
) -> Sequence[Asked]:
    """Requests that let `key` go on, one for each partition where it stands; `selection` are its open letters. What is
    asked for already is among them, as it is.

    Without `skip_head` the letter that holds the key goes back to its head, and what waits behind it follows. With it,
    the letter stays where it is.

    Raises:
        ConfigError: the key does not stand still, or for a reason that `release` does not end.
    """
    standing = view.standing(key)
    if not standing:
        raise ConfigError(f"key {shown!r} is not held: its records run (or wait for their next attempt)")
    return [
        _open_already(view, partition, key) or _release(partition, kind, selection, key, shown, skip_head=skip_head)
        for partition, kind in standing.items()
    ]


def _open_already(view: OpenRequestsView, partition: int, key: bytes) -> Asked | None:
    for number, request in view:
        asked = understood(request)
        if number == partition and isinstance(asked, Release) and key in asked.keys:
            return Asked(partition, request, frozenset())
    return None


def _release(
    partition: int, kind: KeyStateKind, selection: Selection, key: bytes, shown: str, *, skip_head: bool
) -> Asked:
    if kind == "redriving":
        raise ConfigError(
            f"key {shown!r} stands in partition {partition} because its dead letters are being redriven: it goes on by "
            "itself, as soon as a worker has moved them"
        )
    if kind == "chained" and not skip_head:
        raise ConfigError(
            f"key {shown!r} is chained in partition {partition}: `streamq dlq redrive --key` puts its dead letters "
            "back in order, --skip-head lets it go on without them"
        )
    heads = sorted(place.offset for place in selection.letters if place.partition == partition)
    asked: Parameters = Release((key,))
    places: frozenset[Place] = frozenset()
    if heads and not skip_head:
        asked = Redrive((KeyLetters(key, (heads[-1],)),))
        places = frozenset((Place(partition, heads[-1]),))
    # The same key may be held again later: that is another request.
    nonce = os.urandom(8) if isinstance(asked, Release) else b""
    return Asked(partition, request_of(asked, partition, nonce), places)
