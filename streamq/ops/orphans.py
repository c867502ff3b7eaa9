"""What stands in retry and dead-letter topics and has no processor that would work it off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streamq.model import names
from streamq.model.clock import Clock
from streamq.model.ports import AdminPort, ReaderPort
from streamq.ops import asking
from streamq.ops.letter_book import LettersView
from streamq.ops.parked import ParkedView
from streamq.ops.tail import Progress
from streamq.ops.topics import delete_command
from streamq.tasks.processor import Processor


class Orphan(NamedTuple):
    """A topic that holds what nobody works off: what it holds, what is wanted there, and what may be done."""

    topic: str
    holds: str
    wanted: str
    remedy: str


def orphans(
    admin: AdminPort,
    reader: ReaderPort,
    app: str,
    processors: Iterable[Processor],
    clock: Clock,
    progress: Progress | None = None,
) -> Sequence[Orphan]:
    """The topics of an app's groups that hold parked records or open dead letters and have no processor: it was renamed
    or removed, or parks no more. Blocks while it reads them. Topics that hold nothing are left out.

    Raises:
        RetriableError: the brokers did not answer in time: ask again.
    """
    groups = {one.group: one for one in processors}
    found = []
    for topic, group, kind in _derived(admin.list_topics(asking.TIMEOUT_S), app):
        owner = groups.get(group)
        if owner is not None and (kind == "dlq" or owner.has_journal):
            continue
        holds = (
            _parked(admin, reader, topic, clock, progress)
            if kind == "retry"
            else _letters(admin, reader, topic, clock, progress)
        )
        if holds is not None:
            found.append(_orphan(topic, group.removeprefix(f"{app}."), owner, holds))
    return found


def _derived(topics: Iterable[str], app: str) -> list[tuple[str, str, str]]:
    """Topic, group and kind of those whose names derive from the app's. A replay's own are not among them: they have
    further dots."""
    named = re.compile(rf"({re.escape(app)}\.{names.LEGAL})\.(retry|dlq)")
    matches = [(topic, named.fullmatch(topic)) for topic in sorted(topics)]
    return [(topic, match[1], match[2]) for topic, match in matches if match is not None]


def _orphan(topic: str, name: str, owner: Processor | None, holds: str) -> Orphan:
    delete = f"or, if nobody needs it, delete the topic with all that it holds: `{delete_command(topic)}`"
    if owner is None:
        return Orphan(
            topic,
            holds,
            f"a processor {name!r}",
            f"{topic} holds {holds} of a processor {name!r} that the app does not have. Was it renamed? Declare it "
            f'under its old name, `name="{name}"`, until these are worked off; {delete}',
        )
    return Orphan(
        topic,
        holds,
        "nothing",
        f"{topic} holds {holds}, and processor {name!r} does not read them under ordering='partition': "
        f"declare it with ordering='key' until these are worked off; {delete}",
    )


def _parked(admin: AdminPort, reader: ReaderPort, topic: str, clock: Clock, progress: Progress | None) -> str | None:
    found = [one for one in ParkedView(admin, reader, topic, clock).look(progress=progress).values() if not one.empty]
    if not found:
        return None
    trouble = next((one.trouble for one in found if one.trouble is not None), None)
    if trouble is not None:
        return f"parked records that cannot be counted ({trouble})"
    entries, keys = sum(one.entries for one in found), sum(one.chained + one.held for one in found)
    return f"{entries:,} parked records" + (f" and {keys:,} keys that stand" if keys else "")


def _letters(admin: AdminPort, reader: ReaderPort, topic: str, clock: Clock, progress: Progress | None) -> str | None:
    found = LettersView(admin, reader, topic, clock).look(progress=progress).values()
    letters, unread = sum(one.open for one in found), sum(one.unread for one in found)
    if unread:
        return f"at most {letters + unread:,} open dead letters"
    return f"{letters:,} open dead letters" if letters else None
