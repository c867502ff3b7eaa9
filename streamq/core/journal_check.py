"""Whether the journal that is there is the one that the source's last commit knew."""

from __future__ import annotations

from typing import Final

from streamq.core.offset_map import JournalMark
from streamq.model.errors import JournalError

_REMEDY: Final = (
    "Restore it; or, to accept the loss, stop the group's workers and commit its offset of the source partition anew, "
    "without metadata"
)


def check_journal(mark: JournalMark | None, *, name: str, topic_id: bytes, end: int) -> None:
    """Compare what the map says of the journal with the retry partition `name` as it is: its topic's id and its stable
    end. A map without a mark comes from a time before anything was parked.

    Raises:
        JournalError: the topic was deleted and made anew, or its log was cut short. Stop the partition: parked records
            are gone, and only an operator can accept that.
    """
    if mark is None:
        return
    if mark.topic_id != topic_id:
        raise JournalError(
            f"{name} was deleted and made anew: what was parked in the {mark.known_end} offsets it had is gone. "
            f"{_REMEDY}"
        )
    if end < mark.known_end:
        raise JournalError(
            f"{name} ends at offset {end} and had {mark.known_end}: its last {mark.known_end - end} offsets are gone. "
            f"{_REMEDY}"
        )
