"""Ctrl-C during a replay: once to drain, twice to wait for no handler."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, cast

from streamq.cli.replay import _signals_to

if TYPE_CHECKING:
    from streamq.runtime.owner import Owner


class Asked:
    """What an owner was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def request_stop(self) -> None:
        self.calls.append("stop")

    def request_abort(self) -> None:
        self.calls.append("abort")


def test_the_first_signal_drains_and_the_second_waits_for_no_handler() -> None:
    owner, before = Asked(), signal.getsignal(signal.SIGINT)
    with _signals_to(cast("Owner", owner)):
        signal.raise_signal(signal.SIGINT)
        assert owner.calls == ["stop"]
        signal.raise_signal(signal.SIGTERM)
        assert owner.calls[1] == "abort"
    assert signal.getsignal(signal.SIGINT) is before, "afterwards Ctrl-C is what it was"
