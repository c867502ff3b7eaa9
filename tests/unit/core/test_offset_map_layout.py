"""The layout of the commit's map is fixed: these texts stand in users' clusters."""

from __future__ import annotations

import pytest

from streamq.core.offset_map import JournalMark, OffsetMap, decode_map, encode_map

GOLDEN = [
    (OffsetMap(0, 0), "c3EBAAAAAAAAAAAAAAAAADi9rIw"),
    (OffsetMap(7, 7, (), {7: 3}, None, None, True, b"abcdefgh"), "c3EBBGFiY2RlZmdoBwAAAAADvYPQlQ"),
    (OffsetMap(100, 200, (100, 150, 199), {150: 2}), "c3EBAAAAAAAAAAAAZGQAAjEwMgIR2sAu"),
    (OffsetMap(5, 300, tuple(range(5, 120)) + tuple(range(200, 290))), "c3EBAQAAAAAAAAAABacCAANzUFpaRQ9l"),
    (
        OffsetMap(0, 64, tuple(range(0, 63, 2)), {}, 512, 3, False, b"\0" * 8, JournalMark(b"topic-id-16bytes", 99)),
        "c3EBGgAAAAAAAAAAAECBBAN0b3BpYy1pZC0xNmJ5dGVzYwhVVVVVVVVVVXv5+40",
    ),
]


@pytest.mark.parametrize(("offsets", "text"), GOLDEN)
def test_layout_version_1(offsets: OffsetMap, text: str) -> None:
    assert encode_map(offsets) == text
    assert decode_map(text) == offsets


def test_foreign_metadata_is_no_map() -> None:
    for text in ("", "NOT A MAP", "c3EB", "bnVsbA", "c3ECAAAA", "x" * 5000):
        assert decode_map(text) is None
