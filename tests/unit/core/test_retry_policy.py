"""When a record is tried again, and what a policy refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.core.retry import RetryPolicy
from streamq.model.errors import ConfigError


def test_the_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(max_attempts=5, backoff_s=1.0, multiplier=2.0, max_backoff_s=5.0, jitter=0.0)
    assert [policy.delay_s(attempt, 0.5) for attempt in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert [policy.exhausted(attempt) for attempt in (1, 4, 5, 6)] == [False, False, True, True]
    assert not RetryPolicy(max_attempts=None).exhausted(10**9)


@given(st.integers(1, 10**9), st.floats(0, 1), st.floats(0, 1), st.floats(1, 10), st.floats(0, 100))
def test_a_wait_is_within_its_bounds(
    attempt: int, chance: float, jitter: float, multiplier: float, backoff_s: float
) -> None:
    policy = RetryPolicy(backoff_s=backoff_s, multiplier=multiplier, max_backoff_s=60.0, jitter=jitter)
    assert 0.0 <= policy.delay_s(attempt, chance) <= 60.0
    assert policy.delay_s(attempt, 0.0) >= policy.delay_s(attempt, chance)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_attempts", 0), ("backoff_s", -1.0), ("multiplier", 0.5), ("max_backoff_s", float("nan")), ("jitter", 1.5)],
)
def test_a_value_that_cannot_work_is_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"retry\.{field} is {value}"):
        RetryPolicy(**{field: value})  # type: ignore[arg-type]  # the field is the test's parameter
