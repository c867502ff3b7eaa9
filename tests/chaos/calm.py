"""Watches a group: when was it stable, and when did a rebalance hold its members' commits up?"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

from streamq.kafka import KafkaClients
from streamq.model.errors import RetriableError

LOOK_S: Final = 0.05
_ASK_S: Final = 5.0


class Look(NamedTuple):
    """What the coordinator said, and when by the monotonic clock."""

    at: int
    stable: bool


class Calm:
    """Asks in a thread of its own while it is entered."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._admin = KafkaClients(bootstrap).admin()
        self._group = group
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="calm", daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._admin.close()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                found = self._admin.describe_group(self._group, _ASK_S)
            except RetriableError:
                found = None
            self.looks.append(Look(time.monotonic_ns(), found is not None and found.state == "Stable"))

    def has_lasted(self, stable_s: float) -> bool:
        """Whether the group has been stable for so long without a break."""
        now = time.monotonic_ns()
        return self.since(now, stable_s) == now - int(stable_s * 1e9)

    def since(self, at: int, stable_s: float) -> int:
        """The latest moment from which up to `at` the group was stable for so long altogether; the first look's if it
        never was."""
        left = int(stable_s * 1e9)
        later = at
        for look in reversed(self.looks):
            if look.at > at:
                continue
            if look.stable:
                if left <= later - look.at:
                    return later - left
                left -= later - look.at
            later = look.at
        return later
