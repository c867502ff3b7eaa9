"""Partitions are spread evenly, and as few as possible move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamq.model.records import TopicPartition
from streamq.testing.memory.groups import balance


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[TopicPartition], list[set[TopicPartition]]]:
    """Partitions, and who has which of them (nobody or one), some gone ones among them."""
    count, members = draw(st.integers(0, 20)), draw(st.integers(1, 6))
    partitions = [TopicPartition("t", number) for number in range(count)]
    has: list[set[TopicPartition]] = [set() for _ in range(members)]
    for partition in [*partitions, TopicPartition("t", 99)]:
        owner = draw(st.integers(-1, members - 1))
        if owner >= 0:
            has[owner].add(partition)
    return partitions, has


@given(situations())
def test_each_partition_has_one_owner_and_shares_are_even(
    situation: tuple[list[TopicPartition], list[set[TopicPartition]]],
) -> None:
    partitions, has = situation
    shares = balance(partitions, has)
    assert sorted(one for share in shares for one in share) == partitions
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(situations())
def test_what_is_even_already_stays(situation: tuple[list[TopicPartition], list[set[TopicPartition]]]) -> None:
    partitions, has = situation
    shares = balance(partitions, has)
    assert balance(partitions, shares) == shares


@given(situations())
def test_nobody_gives_away_more_than_it_must(
    situation: tuple[list[TopicPartition], list[set[TopicPartition]]],
) -> None:
    partitions, has = situation
    least = len(partitions) // len(has)
    for before, after in zip(has, balance(partitions, has), strict=True):
        had = before & set(partitions)
        assert len(had & after) >= min(len(had), least)
