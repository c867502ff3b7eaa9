"""Log lines: for people on a terminal, or as JSON for machines."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec
from rich.console import Console
from rich.logging import RichHandler

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send the log to stderr in one of the two forms."""
    handler: logging.Handler
    if form == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
    elif sys.stderr.isatty():
        handler = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False)
        handler.setFormatter(Sentences())
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Sentences("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was logged beside the sentence."""
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


class Sentences(logging.Formatter):
    """The sentence, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback below it where there is one."""
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record).items() if name != "event")
        line = super().format(record)
        head, separator, rest = line.partition("\n")
        return f"{head}  [{fields}]{separator}{rest}" if fields else line


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, thread, message, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        document: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(document, enc_hook=repr).decode()
