"""What the tests of an operator's questions share."""

from __future__ import annotations

import pytest

from .shop import Shop


@pytest.fixture
def shop() -> Shop:
    """A shop of a test's own, nothing created."""
    return Shop()
