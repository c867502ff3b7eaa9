"""Values, durations, times and log lines as they are printed."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime, timedelta

import pytest

from streamq.cli import output
from streamq.cli.logs import JsonLines, Sentences, configure
from streamq.model.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (1234567, "1,234,567"), (1234.56, "1,234.6"), (True, "True"), ("text", "text")],
)
def test_cells(value: object, shown: str) -> None:
    assert output.cell(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0.0 s"), (119.0, "119.0 s"), (120.0, "2.0 m"), (7_200.0, "2.0 h"), (259_200.0, "3.0 d")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert output.duration(seconds) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("täxt\n\t", "täxt\n\t"), ("\x1b[2J\x9b", "\\x1b[2J\\x9b"), ("a\r\x00", "a\\r\\x00")]
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert output.printable(text) == shown


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-20T08:00Z", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00+02:00", datetime(2026, 11, 20, 6, tzinfo=UTC)),
        ("2026-11-20 08:00:30.5Z", datetime(2026, 11, 20, 8, tzinfo=UTC) + timedelta(seconds=30.5)),
    ],
)
def test_times_have_a_zone(text: str, time: datetime) -> None:
    assert output.aware_time("--from", text) == time


@pytest.mark.parametrize("text", ["2026-11-20T08:00", "2026-11-20"])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"a time without a zone: add one, for instance 2026-11-20T0[08]:00Z for UTC"):
        output.aware_time("--from", text)


def line_of(formatter: logging.Formatter, error: Exception | None = None, **fields: object) -> str:
    record = logging.LogRecord("streamq.x", logging.WARNING, "x.py", 1, "It happens", (), None)
    record.__dict__.update(fields)
    if error is not None:
        try:
            raise error
        except type(error):
            record.exc_info = sys.exc_info()
    return formatter.format(record)


def test_a_line_for_people_has_its_fields_behind_the_sentence() -> None:
    line = line_of(Sentences("%(levelname)s %(message)s"), event="happens", topic="orders", partition=3)
    assert line == "WARNING It happens  [topic=orders partition=3]"
    assert line_of(Sentences()) == "It happens"


def test_a_stack_follows_below_the_fields() -> None:
    first, second, *_ = line_of(Sentences(), ValueError("no"), topic="orders").splitlines()
    assert (first, second) == ("It happens  [topic=orders]", "Traceback (most recent call last):")


def test_a_line_for_machines_is_one_json_object() -> None:
    line = line_of(JsonLines(), ValueError("no"), event="happens", key=b"\xff", odd=object)
    document = json.loads(line)
    assert "\n" not in line
    assert (document["level"], document["message"], document["event"]) == ("warning", "It happens", "happens")
    assert document["traceback"].endswith("ValueError: no")
    assert datetime.fromisoformat(document["time"]).tzinfo is not None


def test_the_log_goes_to_stderr_in_the_form_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure("json", "info")
        logging.getLogger("streamq.test").info("It begins", extra={"event": "begins"})
        logging.getLogger("streamq.test").debug("Not shown")
        configure("text", "warning")
        logging.getLogger("streamq.test").warning("It ends", extra={"event": "ends", "topic": "orders"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["event"] == "begins"
    assert second.endswith("WARNING It ends  [topic=orders]")
