"""Which dead letters are open: what marks close, and that one record is one letter."""

from __future__ import annotations

import pytest

from streamq.core.marks import LetterState
from streamq.model.errors import ConfigError, JournalError
from streamq.model.headers import MARK
from streamq.model.records import TopicPartition
from streamq.ops import dead_letters
from streamq.ops.letter_book import LettersSummary, LettersView

from .shop import Shop

DLQ = "shop.charge.dlq"
P0 = TopicPartition(DLQ, 0)


def view(shop: Shop) -> LettersView:
    return LettersView(shop.admin, shop.reader, DLQ, shop.clock)


def listed(shop: Shop, state: LetterState | None = None) -> list[tuple[int, LetterState]]:
    found = dead_letters.letters(shop.admin, shop.reader, shop.charge, shop.clock, state=state)
    return [(letter.offset, letter.state) for letter in found]


def test_a_letter_is_open_until_a_mark_names_it(shop: Shop) -> None:
    shop.create(DLQ)
    for _ in range(3):
        shop.bury(0)
    assert listed(shop) == [(0, "open"), (1, "open"), (2, "open")]
    shop.mark(0, 1)
    shop.mark(0, 2, "purged")
    assert listed(shop) == [(0, "open"), (1, "redriven"), (2, "purged")], "marks are no letters"
    assert listed(shop, "open") == [(0, "open")]
    assert listed(shop, "purged") == [(2, "purged")]
    assert view(shop).look()[0] == LettersSummary(0, open=1, redriven=1, purged=1)


def test_a_record_that_is_given_up_again_is_one_letter(shop: Shop) -> None:
    shop.create(DLQ)
    shop.bury(0, source_offset=4)
    shop.mark(0, 0)
    shop.bury(0, source_offset=4)
    assert listed(shop) == [(2, "open")]
    assert view(shop).look()[0] == LettersSummary(0, open=1)
    shop.mark(0, 2)
    assert listed(shop) == [(2, "redriven")]


def test_a_letter_that_no_mark_names_is_open_though_a_later_one_of_its_record_is_not(shop: Shop) -> None:
    """Nothing but a mark closes a letter: what a redrive would still take must be seen."""
    shop.create(DLQ)
    shop.bury(0, source_offset=4)
    shop.bury(0, source_offset=4)
    assert listed(shop) == [(1, "open")]
    shop.mark(0, 1)
    assert listed(shop) == [(0, "open")]
    shop.mark(0, 0)
    assert listed(shop) == [(1, "redriven")]


def test_a_replays_letters_are_its_own(shop: Shop) -> None:
    shop.create(DLQ)
    shop.bury(0, source_offset=4)
    shop.bury(0, source_offset=4, group="shop.charge.replay.r")
    assert listed(shop) == [(0, "open"), (1, "open")]


def test_what_others_wrote_counts_one_by_one(shop: Shop) -> None:
    shop.create(DLQ)
    shop.cluster.append(P0, b"x")
    shop.cluster.append(P0, b"x")
    shop.mark(0, 1, "purged")
    assert listed(shop) == [(0, "open"), (1, "purged")]


def test_marks_and_letters_of_other_partitions_are_told_apart(shop: Shop) -> None:
    shop.create(DLQ)
    shop.bury(0)
    shop.bury(1)
    shop.mark(1, 0)
    assert view(shop).look() == {0: LettersSummary(0, open=1), 1: LettersSummary(1, redriven=1)}


def test_what_is_deleted_is_gone_with_a_later_look(shop: Shop) -> None:
    shop.create(DLQ)
    shop.bury(0, source_offset=4)
    shop.bury(0, source_offset=5)
    shop.bury(0, source_offset=4)
    again = view(shop)
    assert again.look()[0].open == 2
    shop.cluster.delete_records(P0, 2)
    shop.mark(0, 2)
    read: list[int] = []
    assert again.look(progress=read.append)[0] == LettersSummary(0, redriven=1)
    assert sum(read) == 1, "only what has come since"


def test_a_mark_that_cannot_be_read_is_told_and_nothing_is_called_open(shop: Shop) -> None:
    shop.create(DLQ)
    shop.bury(0)
    shop.cluster.append(P0, None, None, ((MARK, b"\x09\x01\x00"),))
    trouble = view(shop).look()[0].trouble
    assert trouble is not None
    assert trouble.startswith("offset 1: a mark of version 9")
    with pytest.raises(JournalError, match=r"shop\.charge\.dlq: offset 1: a mark of version 9"):
        listed(shop)


def test_a_letter_is_shown_with_what_became_of_it(shop: Shop) -> None:
    shop.create(DLQ)
    shop.bury(0)
    shop.bury(0)
    shop.mark(0, 0, "purged")

    def state(offset: int) -> LetterState:
        return dead_letters.whole(shop.admin, shop.reader, shop.charge, shop.clock, 0, offset).letter.state

    assert (state(0), state(1)) == ("purged", "open")
    with pytest.raises(ConfigError, match=r"no dead letter stands at 0:2 of shop\.charge\.dlq: the offset holds none"):
        state(2)


def test_without_a_topic_there_is_nothing(shop: Shop) -> None:
    assert view(shop).look() == {}
