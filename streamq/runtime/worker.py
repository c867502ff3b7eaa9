"""One worker process: an owner thread for each processor, and the main thread that watches over them."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Mapping

from streamq.model.errors import StreamqError
from streamq.runtime.owner import Owner

logger = logging.getLogger(__name__)

SPARE_S = 15.0
"""A member that has no partitions for so long after it joined is a spare one."""
LIVE_S = 10.0
"""A worker lives as long as each of its owners went round its loop within this time."""


def settle_memory() -> None:
    """Tell the garbage collector what a worker's process is like: much that stays, and many records in flight that go
    by themselves. With CPython's defaults it looks at those again and again, for a quarter of the core's cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def _settled_in(owner: Owner, now: float) -> bool:
    if owner.stats.reading != owner.stats.assigned or owner.joined_at is None:
        return False
    return owner.stats.rebalances["assigned"] > 0 or now - owner.joined_at >= SPARE_S


class Worker:
    """Runs owners until it is asked to stop, or until one cannot go on: then all stop."""

    def __init__(self, owners: Mapping[str, Owner]) -> None:
        self._owners = dict(owners)
        self._over = threading.Event()
        self._failures: dict[str, BaseException] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(name, owner), name=name, daemon=True)
            for name, owner in self._owners.items()
        ]

    @property
    def owners(self) -> Mapping[str, Owner]:
        """The owners by their processors' names."""
        return self._owners

    def run(self) -> Mapping[str, BaseException]:
        """Start all and block until all have ended. Returns what made any of them fail, by processor."""
        for thread in self._threads:
            thread.start()
        # Waits in short pieces: on some platforms a wait without a timeout keeps signals from being handled.
        while any(thread.is_alive() for thread in self._threads):
            self._over.wait(0.2)
            if self._over.is_set():
                for thread in self._threads:
                    thread.join(0.2)
        return self._failures

    def request_stop(self) -> None:
        """Drain and end. The second time, wait for no handler any more. Any thread, also a signal handler."""
        if self._over.is_set():
            for owner in self._owners.values():
                owner.request_abort()
        self._over.set()
        for owner in self._owners.values():
            owner.request_stop()

    def live(self, now: float) -> bool:
        """Whether every owner goes round its loop."""
        return all(owner.gate.age_s(now) <= LIVE_S for owner in self._owners.values())

    def ready(self, now: float) -> bool:
        """Whether every owner has its assignment and reads it. A member may be left without partitions when there are
        more members than partitions, and hears nothing then: some time after it joined it is ready, too."""
        return all(_settled_in(owner, now) for owner in self._owners.values())

    def _run(self, name: str, owner: Owner) -> None:
        try:
            owner.run()
        except StreamqError as error:
            self._failures[name] = error
            logger.error(
                "The worker cannot go on with a processor and stops: what is unsettled is done again after a restart",
                extra={"event": "worker_failed", "processor": name, "error": f"{type(error).__name__}: {error}"},
            )
        except BaseException as error:
            self._failures[name] = error
            logger.exception(
                "The worker met a bug of streamq and stops: what is unsettled is done again after a restart",
                extra={"event": "worker_failed", "processor": name},
            )
            raise
        finally:
            for other in self._owners.values():
                other.request_stop()
            self._over.set()
