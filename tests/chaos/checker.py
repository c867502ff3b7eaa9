"""Judges a ledger. Shares no code with streamq: it knows files, keys, offsets and times, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

Place = tuple[int, int]


class Line(NamedTuple):
    """One line of a ledger, and the process that wrote it."""

    at: int
    what: str
    key: str
    place: Place
    pid: int


class Kill(NamedTuple):
    """A process that was killed: when, how many handlers ran in it, and from when on it need not have got a commit
    through."""

    pid: int
    at: int
    in_flight: int
    uncommitted_since: int = 0


@dataclass
class Cost:
    """What one kill cost: `repeated` are the records that had ended in the process and were started again (in all
    `starts` times: whoever did so may have been killed, too), the earliest `oldest_s` before the kill. `bound` counts
    those that had ended since the last moment at which a commit was due to have been answered, `due_s` before it."""

    due_s: float
    starts: int = 0
    repeated: set[Place] = field(default_factory=set)
    oldest_s: float = 0.0
    bound: int = 0

    def __str__(self) -> str:
        return f"{len(self.repeated)} of {self.bound} (of the last {self.oldest_s:.2f} of {self.due_s:.2f} s)"


@dataclass
class Verdict:
    """What the ledger says. `repeats` counts starts of records that had ended before; `costs`, by killed process, those
    whose earlier end was in a process that had been killed meanwhile, the only ones that a kill explains."""

    records: int = 0
    starts: int = 0
    lost: list[Place] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    overlapped: list[str] = field(default_factory=list)
    last_out_of_order: list[str] = field(default_factory=list)
    repeats: int = 0
    costs: dict[int, Cost] = field(default_factory=dict)

    @property
    def repeats_of_killed(self) -> int:
        """All that kills explain."""
        return sum(cost.starts for cost in self.costs.values())

    def summary(self) -> str:
        """One line for the report."""
        return (
            f"records {self.records}, starts {self.starts}, lost {len(self.lost)}, "
            f"out of order {len(self.out_of_order)}, overlapped {len(self.overlapped)}, "
            f"last effects out of order {len(self.last_out_of_order)}, "
            f"repeats {self.repeats}, by kill {', '.join(map(str, self.costs.values()))}"
        )


def read(folder: Path) -> list[Line]:
    """All lines of all processes in the order of time."""
    lines: list[Line] = []
    for path in folder.glob("*.ledger"):
        pid = int(path.stem)
        for text in path.read_text().splitlines():
            what, key, partition, offset, _, at = text.split(" ")
            lines.append(Line(int(at), what, key, (int(partition), int(offset)), pid))
    lines.sort()
    return lines


def in_flight(folder: Path, pid: int) -> int:
    """How many handlers run in a process now."""
    path = folder / f"{pid}.ledger"
    if not path.exists():
        return 0
    text = path.read_text()
    return text.count("S ") - text.count("E ")


def judge(lines: Iterable[Line], expected: Mapping[Place, str], kills: Sequence[Kill]) -> Verdict:
    """Check one run. `expected` maps each published record to its key."""
    killed_at = {kill.pid: kill.at for kill in kills}
    due = {kill.pid: kill.uncommitted_since for kill in kills}
    costs = {kill.pid: Cost((kill.at - kill.uncommitted_since) / 1e9) for kill in kills}
    verdict = Verdict(records=len(expected), costs=costs)
    order: dict[str, list[Place]] = defaultdict(list)
    for place in sorted(expected):
        order[expected[place]].append(place)
    ended: dict[Place, Line] = {}
    settled_prefix: dict[str, int] = defaultdict(int)
    running: dict[str, Line] = {}
    for line in lines:
        if line.what == "S":
            verdict.starts += 1
            _check_start(verdict, line, order[line.key], settled_prefix, ended, running, killed_at)
            running[line.key] = line
        else:
            if line.pid in due and line.at >= due[line.pid]:
                costs[line.pid].bound += 1
            ended[line.place] = line
            running.pop(line.key, None)
    verdict.lost = [place for place in expected if place not in ended]
    for key, places in order.items():
        times = [ended[place].at for place in places if place in ended]
        if times != sorted(times):
            verdict.last_out_of_order.append(key)
    return verdict


def _check_start(
    verdict: Verdict,
    line: Line,
    places: list[Place],
    prefix: dict[str, int],
    ended: Mapping[Place, Line],
    running: Mapping[str, Line],
    killed_at: Mapping[int, int],
) -> None:
    key = line.key
    while prefix[key] < len(places) and places[prefix[key]] in ended:
        prefix[key] += 1
    if prefix[key] < len(places) and line.place > places[prefix[key]]:
        verdict.out_of_order.append(f"{key}: {line.place} started before {places[prefix[key]]} had ended")
    before = running.get(key)
    if before is not None and killed_at.get(before.pid, line.at + 1) > line.at:
        verdict.overlapped.append(f"{key}: {line.place} started while {before.place} ran in process {before.pid}")
    done = ended.get(line.place)
    if done is not None:
        verdict.repeats += 1
        if killed_at.get(done.pid, line.at + 1) <= line.at:
            cost = verdict.costs[done.pid]
            cost.starts += 1
            cost.repeated.add(line.place)
            cost.oldest_s = max(cost.oldest_s, (killed_at[done.pid] - done.at) / 1e9)
