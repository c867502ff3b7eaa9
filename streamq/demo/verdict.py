"""What came of it, as a table, and whether it is as promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from streamq.demo.working import Kill
from topologies.flights.audit import Findings
from topologies.flights.check import Comparison


class Verdict(NamedTuple):
    """All that was found out: by the ledger, by pandas, and in the dead-letter topic."""

    findings: Findings
    comparison: Comparison
    dead_letters: Mapping[str, int]
    """Distinct records by reason."""
    dead_twice: int
    """Dead letters beyond one a record: a dead letter is confirmed before its record is settled, so a kill between the
    two repeats it."""
    kill: Kill
    publish_seconds: float

    def faults(self) -> list[str]:
        """What is not as promised; nothing where all is well."""
        findings, comparison = self.findings, self.comparison
        faults = [
            f"{count:,} {what}"
            for count, what in (
                (findings.lost, "records lost"),
                (findings.out_of_order, "records out of order"),
                (findings.overlapped, "attempts overlapped"),
                (len(comparison.differences), "figures differ from pandas'"),
            )
            if count
        ]
        faults += findings.examples[:5] + list(comparison.differences[:5])
        if dict(self.dead_letters) != {"rejected": findings.rejected}:
            faults.append(f"dead letters are {dict(self.dead_letters)}, rejected were {findings.rejected:,}")
        return faults


def show(verdict: Verdict, console: Console) -> None:
    """Print the table."""
    findings, comparison = verdict.findings, verdict.comparison
    table = Table(show_header=False, box=None, padding=(0, 2))
    rate = findings.records / findings.seconds if findings.seconds else 0.0
    rows = [
        (
            "records",
            f"{findings.records:,}",
            f"published at {findings.records / verdict.publish_seconds:,.0f} records/s",
        ),
        ("processed", f"{rate:,.0f} records/s", f"by {findings.processes} processes, kill and return included"),
        ("in flight at the kill", f"{findings.unfinished:,}", f"process {verdict.kill.pid}, kill -9"),
        ("repeated", f"{findings.repeated:,}", "at least once: what was not committed yet"),
        ("lost", _zero(findings.lost), "published and never finished"),
        ("out of order", _zero(findings.out_of_order), "started before an earlier record of its aircraft was done"),
        ("overlapped", _zero(findings.overlapped), "two attempts of one aircraft at once"),
    ]
    again = f", {verdict.dead_twice:,} of them twice" if verdict.dead_twice else ""
    rows += [
        (f"dead letters, {why}", f"{count:,}", f"no tail number{again}") for why, count in verdict.dead_letters.items()
    ]
    rows.append(("legs kept", f"{comparison.legs_found:,}", f"of {comparison.aircraft_found:,} aircraft"))
    rows.append(("figures unlike pandas'", _zero(len(comparison.differences)), "10 figures of each aircraft compared"))
    for name, value, remark in rows:
        table.add_row(name, value, f"[dim]{remark}[/]")
    console.print(table)


def _zero(count: int) -> str:
    return "[bold green]0[/]" if count == 0 else f"[bold red]{count:,}[/]"
