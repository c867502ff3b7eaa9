"""When a failed record runs again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from streamq.model.errors import ConfigError


def _number_within(value: object, least: float, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isfinite(value) and least <= value <= most


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a failed record is attempted again.

    `max_attempts` counts the first run; None means without end. The wait after attempt n is
    `backoff_s * multiplier ** (n - 1)`, at most `max_backoff_s`, less a random part of up to `jitter` of it (0 to 1),
    so that keys which failed together do not come back together.

    Raises:
        ConfigError: a value out of its range; the message names it.
    """

    max_attempts: int | None = 5
    backoff_s: float = 1.0
    multiplier: float = 2.0
    max_backoff_s: float = 60.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        attempts: object = self.max_attempts
        if attempts is not None and (isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1):
            raise ConfigError(f"retry.max_attempts is {attempts!r}: it counts the first run, so use 1 or more, or None")
        for name, least, most in (
            ("backoff_s", 0.0, inf), ("multiplier", 1.0, inf), ("max_backoff_s", 0.0, inf), ("jitter", 0.0, 1.0),
        ):  # fmt: skip
            if not _number_within(getattr(self, name), least, most):
                value: object = getattr(self, name)
                upper = "" if most == inf else f" and at most {most:g}"
                raise ConfigError(f"retry.{name} is {value!r}: use a number of at least {least:g}{upper}")

    def exhausted(self, attempt: int) -> bool:
        """Whether the record is given up after attempt number `attempt` (from 1) failed."""
        return self.max_attempts is not None and attempt >= self.max_attempts

    def delay_s(self, attempt: int, chance: float) -> float:
        """Seconds to wait after attempt number `attempt` (from 1) failed; `chance` is drawn from 0 to 1."""
        try:
            full = min(self.max_backoff_s, self.backoff_s * self.multiplier ** (attempt - 1))
        except OverflowError:  # hundreds of attempts: long since at the maximum
            full = self.max_backoff_s if self.backoff_s else 0.0
        return full * (1.0 - self.jitter * chance)
