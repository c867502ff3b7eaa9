"""The commit's map: what goes in comes out, what is admitted fits, and damage is noticed."""

from __future__ import annotations

from base64 import b64encode
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from streamq.core.offset_map import (
    ANY_SPAN,
    MOST_CHARS,
    WIDE_COUNT,
    WIDE_SPAN,
    JournalMark,
    OffsetMap,
    admits,
    decode_map,
    encode_map,
)

LARGEST = 2**62
bases = st.one_of(st.integers(0, 1000), st.integers(0, LARGEST))
processes = st.binary(min_size=8, max_size=8)


@st.composite
def maps(draw: st.DrawFn, most: int = 60, reach: int = 400) -> OffsetMap:
    """A map as a tracker makes it: base unsettled, `end` above a settled offset, all options in all combinations."""
    base = draw(bases)
    steps = draw(st.lists(st.integers(1, reach), max_size=most))
    unsettled, offset = [base], base
    for step in steps:
        offset += step
        unsettled.append(offset)
    end = unsettled[-1] + draw(st.integers(1, reach)) + 1
    if draw(st.integers(0, 9)) == 0:
        unsettled, end = [], base
    attempts = draw(st.dictionaries(st.integers(base, base + 500), st.integers(2, 2**20), max_size=30))
    return OffsetMap(
        base,
        end,
        tuple(unsettled),
        attempts,
        draw(st.none() | st.integers(base, base + 2**40)),
        draw(st.none() | st.integers(base, base + 2**20)),
        draw(st.booleans()),
        draw(processes),
        draw(st.none() | st.builds(JournalMark, st.binary(min_size=16, max_size=16), bases)),
    )


@given(maps())
def test_what_goes_in_comes_out(offsets: OffsetMap) -> None:
    assert decode_map(encode_map(offsets)) == offsets


@given(maps(most=8), st.data())
def test_every_flipped_bit_is_noticed_or_harmless(offsets: OffsetMap, data: st.DataObject) -> None:
    text = encode_map(offsets)
    place, bit = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 7))
    flipped = chr(ord(text[place]) ^ (1 << bit))
    assert decode_map(text[:place] + flipped + text[place + 1 :]) in {None} or flipped == text[place]


def test_every_single_bit_of_one_map() -> None:
    offsets = OffsetMap(1000, 1100, (1000, 1003, 1050), {1000: 4}, 1200, 1001, True, b"processs", None)
    text = encode_map(offsets)
    for place in range(len(text)):
        for bit in range(8):
            damaged = text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]
            assert decode_map(damaged) is None, (place, bit)


@given(st.text(max_size=200))
def test_any_text_is_a_map_of_ours_or_none(text: str) -> None:
    decode_map(text)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_with_our_mark_and_a_right_checksum_never_raise_and_stay_small(body: bytes) -> None:
    data = b"sq\x01" + body
    text = b64encode(data + crc32(data).to_bytes(4, "big")).decode().rstrip("=")
    offsets = decode_map(text)
    assert offsets is None or len(offsets.unsettled) <= max(ANY_SPAN, 8 * len(body))


def full(base: int, unsettled: list[int], end: int, attempts: dict[int, int]) -> OffsetMap:
    """With every option on, each at its largest."""
    mark = JournalMark(b"\xff" * 16, LARGEST)
    return OffsetMap(base, end, tuple(unsettled), attempts, LARGEST * 2 - 1, base + 2**62, True, b"\xff" * 8, mark)


@given(st.integers(0, 2**61), st.randoms(use_true_random=False), st.integers(1, ANY_SPAN), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_any_number_within_20000_fits_whole(base: int, rnd: object, span: int, share: float) -> None:
    import random

    chance = random.Random(str(rnd) + str(span))
    unsettled = [base] + [base + at for at in range(1, span - 1) if chance.random() < share]
    end = base + span
    text = encode_map(full(base, unsettled, end, dict.fromkeys(unsettled, 9)))
    assert len(text) <= MOST_CHARS
    found = decode_map(text)
    assert found is not None
    assert (found.base, found.end, list(found.unsettled)) == (base, end, unsettled)


@given(st.integers(0, 2**61), st.lists(st.integers(1, WIDE_SPAN - 2), max_size=WIDE_COUNT - 1, unique=True))
@settings(max_examples=40, deadline=None)
def test_a_thousand_within_a_million_fit_whole(base: int, places: list[int]) -> None:
    unsettled = [base, *sorted(base + place for place in places)]
    text = encode_map(full(base, unsettled, base + WIDE_SPAN, dict.fromkeys(unsettled, 2**20)))
    assert len(text) <= MOST_CHARS
    found = decode_map(text)
    assert found is not None
    assert list(found.unsettled) == unsettled


def test_the_worst_cases_of_what_is_admitted_fit_whole() -> None:
    base = 2**61
    alternating = list(range(base, base + ANY_SPAN - 1, 2))
    even = [base + at * (WIDE_SPAN // WIDE_COUNT) for at in range(WIDE_COUNT)]
    gaps = [base]
    for at in range(WIDE_COUNT - 1):  # as many gaps of three bytes as a million holds, the others of two
        gaps.append(gaps[-1] + (16_386 if at < 53 else 130))
    assert gaps[-1] < base + WIDE_SPAN
    for unsettled, end in ((alternating, base + ANY_SPAN), (even, base + WIDE_SPAN), (gaps, base + WIDE_SPAN)):
        text = encode_map(full(base, unsettled, end, dict.fromkeys(unsettled, 2**30)))
        assert len(text) <= MOST_CHARS
        found = decode_map(text)
        assert found is not None
        assert list(found.unsettled) == unsettled


def test_what_does_not_fit_is_cut_so_that_more_is_done_again_and_nothing_is_lost() -> None:
    base = 10
    unsettled = [base + at * 997 for at in range(5_000)]
    found = decode_map(encode_map(OffsetMap(base, unsettled[-1] + 2, tuple(unsettled))))
    assert found is not None
    assert list(found.unsettled) == unsettled[: len(found.unsettled)]
    assert found.end <= unsettled[len(found.unsettled)]


def test_more_unsettled_than_a_reader_takes_are_cut_before_they_are_written() -> None:
    """A long run is two bytes whatever its length; a reader bounds its memory, so a writer must keep to that bound."""
    for count in (ANY_SPAN, ANY_SPAN + 1, 3 * ANY_SPAN):
        found = decode_map(encode_map(OffsetMap(7, 7 + count + 1, range(7, 7 + count))))
        assert found is not None
        assert found.end > found.base, "something is kept"
        assert list(found.unsettled) == list(range(7, 7 + len(found.unsettled)))
        assert found.end <= 7 + count + 1
        assert (len(found.unsettled) == count) == (count <= ANY_SPAN)


@given(maps(most=700, reach=200))
@settings(max_examples=40, deadline=None)
def test_of_the_attempts_the_highest_are_kept(offsets: OffsetMap) -> None:
    many = {offset: 2 + offset % 97 for offset in range(offsets.base, offsets.base + 2000)}
    crowded = OffsetMap(offsets.base, offsets.end, offsets.unsettled, many)
    found = decode_map(encode_map(crowded))
    assert found is not None
    assert found.unsettled == crowded.unsettled
    assert all(many[offset] == attempts for offset, attempts in found.attempts.items())
    if found.attempts:
        left_out = [attempts for offset, attempts in many.items() if offset not in found.attempts]
        assert max(left_out) <= min(found.attempts.values())


@given(st.integers(0, 10**7), st.integers(0, 2 * WIDE_SPAN), st.integers(0, 3000))
def test_admits_is_the_designs_sentence(low: int, ahead: int, unsettled: int) -> None:
    span = ahead + 1
    assert admits(low, low + ahead, unsettled) == (span <= 20_000 or (unsettled < 1000 and span <= 1_000_000))
