"""Whatever is typed after `--where`, it is a filter that holds or does not, or a `ConfigError` with a place."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from streamq.model.errors import ConfigError
from streamq.ops.dead_letters import DeadLetter
from streamq.ops.where import FIELDS, Subject, parse

SOUP = [
    *FIELDS, "value", "value.a", ".a", "[0]", '["a"]', "a", "and", "or", "not", "in", "not in", "(", ")", ",",
    "==", "!=", "<", "<=", ">", ">=", "true", "false", "null", "0", "-1.5", "1e99999", '"x"', "'\\u0041'",
    "2026-11-20T08:00Z", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "2026-11-20",
    "\\", '"', "=", "\x00", "é", "__class__",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TEXTS = SCALARS | st.sampled_from(["0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-20"])
VALUES = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=6,
)
LETTERS = st.builds(
    DeadLetter,
    partition=st.integers(0, 9),
    offset=st.integers(0),
    key=st.none() | st.text(max_size=3),
    attempts=st.none() | st.integers(0),
    dead_at_ms=st.none() | st.integers(0),
)


def check(text: str, letter: DeadLetter, value: object) -> bool:
    """Whether it was a filter."""
    try:
        test = parse(text)
    except ConfigError as error:
        assert re.match(r"--where(, character \d+: expected .+, found | has )", str(error), re.DOTALL)
        return False
    assert test(Subject(letter, lambda: value)) in (True, False)
    return True


@given(st.text(), LETTERS, VALUES)
def test_any_text_is_a_filter_or_refused(text: str, letter: DeadLetter, value: object) -> None:
    check(text, letter, value)


@given(st.lists(st.sampled_from(SOUP), max_size=12), st.sampled_from(["", " "]), LETTERS, VALUES)
def test_any_words_of_the_language_are_a_filter_or_refused(
    parts: list[str], space: str, letter: DeadLetter, value: object
) -> None:
    check(space.join(parts), letter, value)


OPERANDS = st.sampled_from(
    ["value", "value.a", "value.b[0]", 'value["0"]', "true", "0", "-1.5", "1e99999", '"x"', "2026-11-20T08:00Z", "null"]
)
COMPARISONS = st.builds(
    lambda left, sign, right: f"value.a {sign} {right}" if left == "null" else f"{left} {sign} {right}",
    OPERANDS.filter(lambda one: one.startswith("value")),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]),
    OPERANDS,
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds(lambda one: f"not ({one})", inner)
        | st.builds(lambda one, sign, two: f"({one}) {sign} {two}", inner, st.sampled_from(["and", "or"]), inner)
    ),
    max_leaves=5,
)


@given(FILTERS, LETTERS, VALUES)
def test_filters_never_fail_on_a_letter_whatever_its_value(text: str, letter: DeadLetter, value: object) -> None:
    check(text, letter, value)
    check(f"not ({text})", letter, value)
