"""Sees to it that no error of streamq goes unnoticed in a test."""

from __future__ import annotations

import logging
from typing import Final

HANDLERS: Final = "streamq.handler"
"""Where handlers log (`ctx.logger`): what they say is theirs."""


class ErrorWatch(logging.Handler):
    """Keeps what streamq logs at ERROR. Events that a test expects (`expected`) are let through."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.expected: set[str] = {"dead_letter"}
        self._found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if not record.name.startswith(HANDLERS):
            self._found.append(record)

    @property
    def unexpected(self) -> list[str]:
        """What was logged and not expected, a sentence each, with its event and error."""
        return [_told(record) for record in self._found if getattr(record, "event", "") not in self.expected]

    def __enter__(self) -> ErrorWatch:
        logging.getLogger("streamq").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("streamq").removeHandler(self)


def _told(record: logging.LogRecord) -> str:
    fields = {name: vars(record)[name] for name in ("event", "error") if name in vars(record)}
    return f"{record.getMessage()} {fields}" if fields else record.getMessage()
