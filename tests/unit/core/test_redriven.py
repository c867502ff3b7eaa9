"""A dead letter goes back as the record that it was."""

from __future__ import annotations

import pytest

from streamq.core.journal_records import Entry
from streamq.core.redriven import UnusableLetterError, entry_of
from streamq.model import headers as names
from streamq.model.outcomes import Dead, Failure
from streamq.model.records import Headers, Offset, Record
from streamq.runtime.letters import Identity, dead_letter

TOPIC_ID = b"s" * 16
US = Identity("shop", "1", "charge", "shop.charge", "shop.charge.dlq")


def letter_of(record: Record, identity: Identity = US, partition: int | None = None) -> Record:
    """The dead letter of a record as it stands in its topic."""
    out = dead_letter(identity, record, 3, Dead("attempts", Failure("ValueError", "no", "stack")), 5)
    at = record.partition if partition is None else partition
    return Record(out.topic, at, Offset(40), out.key, out.value, out.headers, out.timestamp_ms or 0)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("a", b"1"), ("a", None)),
        ((names.GROUP, b"other.group"), (names.REASON, b"theirs"), ("mine", b"x")),
        ((names.GROUP, b"other.group"),),
    ],
)
def test_key_value_headers_and_time_are_those_of_the_record(headers: Headers) -> None:
    record = Record("orders", 2, Offset(17), b"k", None, headers, 1_234)
    assert entry_of(letter_of(record), "shop.charge", TOPIC_ID, 3) == Entry(
        b"k", None, headers, 1_234, TOPIC_ID, 3, 17, attempts=1, next_at_ms=0
    )


def test_what_is_not_ours_says_why() -> None:
    record = Record("orders", 2, Offset(17), b"k", b"v", (), 1)
    other = US._replace(group="shop.charge.replay.x")
    with pytest.raises(UnusableLetterError, match=r"group shop\.charge\.replay\.x gave it up, not shop\.charge"):
        entry_of(letter_of(record, other), "shop.charge", TOPIC_ID, 0)
    with pytest.raises(UnusableLetterError, match="a record of partition 2 and stands in partition 1"):
        entry_of(letter_of(record, partition=1), "shop.charge", TOPIC_ID, 0)
    bare = Record("x", 0, Offset(0), None, b"v", ((names.GROUP, b"shop.charge"),), 1)
    with pytest.raises(UnusableLetterError, match="does not say which record"):
        entry_of(bare, "shop.charge", TOPIC_ID, 0)
    with pytest.raises(UnusableLetterError, match="group unknown gave it up"):
        entry_of(Record("x", 0, Offset(0), None, b"v", (), 1), "shop.charge", TOPIC_ID, 0)
