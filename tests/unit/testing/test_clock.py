"""Time moves when it is told to, and never goes back."""

from __future__ import annotations

import pytest

from streamq.testing import ManualClock


def test_it_stands_until_it_is_moved() -> None:
    clock = ManualClock(1_000.0)
    assert (clock.monotonic(), clock.time()) == (0.0, 1_000.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (2.5, 1_002.5)


def test_to_sleep_moves_it() -> None:
    clock = ManualClock()
    clock.sleep(3.0)
    clock.sleep(-1.0)
    assert clock.monotonic() == 3.0


def test_it_does_not_go_backwards() -> None:
    with pytest.raises(ValueError, match="duration_s is -1"):
        ManualClock().advance(-1.0)
