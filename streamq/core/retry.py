"""When a failed record runs again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from streamq.model.errors import ConfigError


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
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ConfigError(f"retry.max_attempts is {self.max_attempts}: it counts the first run, so use 1 or more")
        for name, least in (("backoff_s", 0.0), ("multiplier", 1.0), ("max_backoff_s", 0.0)):
            value = getattr(self, name)
            if not isfinite(value) or value < least:
                raise ConfigError(f"retry.{name} is {value}: use a number of at least {least:g}")
        if not 0.0 <= self.jitter <= 1.0:
            raise ConfigError(f"retry.jitter is {self.jitter}: use a share from 0 to 1")

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
