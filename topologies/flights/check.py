"""The same figures by another way: pandas over the file of the package, compared with what the processor kept.

    python -m topologies.flights.check [DATABASE] [--json]

Shares nothing with the processor but the meaning of its columns.
"""

from __future__ import annotations

import sqlite3
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec
import pandas as pd

from topologies.flights.aircraft import LATE_MINUTES
from topologies.flights.pipeline import database
from topologies.flights.source import data_file

FIGURES = [
    "legs", "flown", "cancelled", "diverted", "distance", "dep_delay", "arr_delay", "knock_on", "last_dest", "chain",
]  # fmt: skip


class Comparison(NamedTuple):
    """How many aircraft and legs there should be and are, and which aircraft differ in which figures."""

    aircraft_expected: int
    aircraft_found: int
    legs_expected: int
    legs_found: int
    cancelled_expected: int
    differences: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all is as it should be."""
        return not self.differences and self.legs_expected == self.legs_found


def expected() -> pd.DataFrame:
    """The figures of each aircraft, computed by pandas. Takes some seconds."""
    legs = pd.read_csv(data_file())
    legs = legs[legs.tailnum.notna()]
    legs = legs.sort_values(["year", "month", "day", "sched_dep_time"], kind="stable")
    flown = legs[legs.dep_time.notna()].copy()
    late_before = flown.groupby("tailnum").arr_delay.shift() >= LATE_MINUTES
    flown["knock_on"] = late_before & (flown.dep_delay >= LATE_MINUTES)
    by_aircraft = flown.groupby("tailnum")
    chains = _labels(legs).groupby(legs.tailnum).agg(_chain)
    figures = pd.DataFrame({"legs": legs.groupby("tailnum").size(), "chain": chains})
    figures["flown"] = by_aircraft.size()
    figures["cancelled"] = legs.dep_time.isna().groupby(legs.tailnum).sum()
    figures["diverted"] = flown.arr_delay.isna().groupby(flown.tailnum).sum()
    for column in ("distance", "dep_delay", "arr_delay", "knock_on"):
        figures[column] = by_aircraft[column].sum()
    figures["last_dest"] = by_aircraft.dest.agg(lambda dests: dests.iloc[-1])
    return figures[FIGURES].fillna(dict.fromkeys(set(FIGURES) - {"last_dest"}, 0))


def found(path: Path) -> pd.DataFrame:
    """The figures of each aircraft as the processor kept them."""
    with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as db:
        return pd.read_sql_query("SELECT * FROM aircraft", db, index_col="tailnum")[FIGURES]


def compare(path: Path) -> Comparison:
    """Hold the file against pandas' figures."""
    should, have = expected(), found(path)
    both = should.index.intersection(have.index)
    differences = [f"{tailnum}: missing" for tailnum in should.index.difference(have.index)]
    differences += [f"{tailnum}: not in the data set" for tailnum in have.index.difference(should.index)]
    for figure in FIGURES:
        wanted, kept = should.loc[both, figure], have.loc[both, figure]
        unequal = ~((wanted == kept) | (wanted.isna() & kept.isna()))
        differences += [f"{t}: {figure} is {kept[t]}, should be {wanted[t]}" for t in both[unequal]]
    return Comparison(
        len(should), len(have), int(should.legs.sum()), int(have.legs.sum()), int(should.cancelled.sum()),
        tuple(differences),
    )  # fmt: skip


def _labels(legs: pd.DataFrame) -> pd.Series[str]:
    """What each leg adds to its aircraft's checksum."""
    date = ((legs.year * 100 + legs.month) * 100 + legs.day).astype(str)
    return date + ":" + legs.carrier + legs.flight.astype(str) + ":" + legs.origin + "-" + legs.dest


def _chain(labels: pd.Series[str]) -> int:
    checksum = 0
    for label in labels:
        checksum = crc32(label.encode(), checksum)
    return checksum


def main() -> int:
    """Print the comparison; 0 when all figures are equal."""
    arguments = ArgumentParser(description="Compares what the processor kept with the same figures by pandas.")
    arguments.add_argument("database", type=Path, nargs="?", default=Path(database()))
    arguments.add_argument("--json", action="store_true", help="print the comparison as JSON")
    given = arguments.parse_args()
    if not given.database.exists():
        print(f"error: {given.database} does not exist: run the worker first, or name its database", file=sys.stderr)
        return 2
    result = compare(given.database)
    print(msgspec.json.encode(result).decode() if given.json else _text(result))
    return 0 if result.equal else 1


def _text(result: Comparison) -> str:
    summary = (
        f"aircraft {result.aircraft_found:,} of {result.aircraft_expected:,}, "
        f"legs {result.legs_found:,} of {result.legs_expected:,}, "
        f"cancelled {result.cancelled_expected:,}; {len(result.differences)} differences"
    )
    return "\n  ".join([summary, *result.differences[:20]])


if __name__ == "__main__":
    sys.exit(main())
