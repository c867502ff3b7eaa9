"""Checks an effect ledger: was anything lost, started out of order, or run twice at once?

    python -m topologies.flights.audit LEDGER_FOLDER

Shares nothing with streamq: it reads lines and knows three rules.

* Lost: a published record that no handler finished (done or rejected).
* Out of order: an attempt that started although an earlier record of its key was not finished yet; or a record whose
  last success came before the last success of an earlier record of its key, so that an old effect would lie on top.
* Overlapped: two attempts of one key that ran at the same time. An attempt that never ended ran until its process was
  killed: those moments are noted in the folder, too (`kills`: process, monotonic nanoseconds).

Records without a key stand alone.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

KILLS = "kills"
Place = tuple[int, int]
"""Partition and offset."""
FINISHED = {"D": "done", "R": "rejected"}


class Run(NamedTuple):
    """One attempt: when it started and ended (nanoseconds), where its record stands, how it ended ("" for not)."""

    start_ns: int
    end_ns: int
    place: Place
    outcome: str
    pid: int


@dataclass(slots=True)
class Findings:
    """What the ledger says.

    `records` is what was published, or, where nobody says so, what was started; `repeated` counts attempts beyond one
    a record; `unfinished` attempts never ended: they ran when their process was killed.
    """

    records: int = 0
    done: int = 0
    rejected: int = 0
    attempts: int = 0
    repeated: int = 0
    lost: int = 0
    out_of_order: int = 0
    overlapped: int = 0
    unfinished: int = 0
    processes: int = 0
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, out of order or overlapped."""
        return not (self.lost or self.out_of_order or self.overlapped)


def audit(folder: Path, published: Iterable[Place] | None = None) -> Findings:
    """Read all ledgers of a folder and check them against what was published (partition and offset of each record)."""
    kills = _read_kills(folder)
    lanes: dict[str, list[Run]] = defaultdict(list)
    findings = Findings()
    for path in sorted(folder.glob("*.ledger")):
        findings.processes += 1
        for key, run in _read_runs(path, kills):
            lanes[key].append(run)
    finished: dict[Place, str] = {}
    started: set[Place] = set()
    for key, runs in lanes.items():
        runs.sort()
        _check_lane(key, runs, findings)
        started.update(run.place for run in runs)
        finished.update((run.place, run.outcome) for run in runs if run.outcome in FINISHED)
    expected = started if published is None else set(published)
    _count(findings, lanes, finished, expected)
    findings.repeated = findings.attempts - len(started)
    findings.unfinished = sum(not run.outcome for runs in lanes.values() for run in runs)
    return findings


def _count(
    findings: Findings, lanes: Mapping[str, list[Run]], finished: Mapping[Place, str], expected: set[Place]
) -> None:
    findings.records = len(expected)
    outcomes = list(finished.values())
    findings.done, findings.rejected = outcomes.count("D"), outcomes.count("R")
    lost = expected - finished.keys()
    findings.lost = len(lost)
    findings.examples += [f"lost: partition {p}, offset {o}" for p, o in sorted(lost)[:5]]
    findings.attempts = sum(map(len, lanes.values()))
    if findings.attempts:
        first = min(runs[0].start_ns for runs in lanes.values())
        last = max(run.end_ns for runs in lanes.values() for run in runs)
        findings.seconds = (last - first) / 1e9


def _check_lane(key: str, runs: list[Run], findings: Findings) -> None:
    """One key's runs by start. A key may be in several partitions only if producers disagree: then each is a lane."""
    ended = 0
    for run in runs:
        if run.start_ns < ended:
            findings.overlapped += 1
            findings.examples.append(f"overlapped: key {key}, partition {run.place[0]}, offset {run.place[1]}")
        ended = max(ended, run.end_ns)
    order = sorted({run.place for run in runs})
    before = {place: order[i - 1] for i, place in enumerate(order) if i and order[i - 1][0] == place[0]}
    finished: set[Place] = set()
    last_success: dict[Place, int] = {}
    for run in runs:
        if run.place in before and before[run.place] not in finished:
            findings.out_of_order += 1
            findings.examples.append(f"out of order: key {key}, partition {run.place[0]}, offset {run.place[1]}")
        if run.outcome in FINISHED:
            finished.add(run.place)
            last_success[run.place] = run.end_ns
    for later, earlier in before.items():
        if last_success.get(later, 0) < last_success.get(earlier, 0):
            findings.out_of_order += 1
            findings.examples.append(f"old effect on top: key {key}, partition {later[0]}, offset {later[1]}")


def _read_runs(path: Path, kills: Mapping[int, int]) -> Iterator[tuple[str, Run]]:
    """The attempts of one process. A killed process may leave its last line unfinished; such a line is left out."""
    pid = int(path.stem)
    running: dict[Place, tuple[int, str]] = {}
    latest = 0
    # A ledger is longer than what stands in it: the rest is zeros.
    written = path.read_bytes().partition(b"\0")[0].decode("ascii")
    for line in written.splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        what, at, partition, offset, _attempt, key = line[:-1].split(" ", 5)
        place, latest = (int(partition), int(offset)), int(at)
        name = key if key != "-" else f"- {partition} {offset}"
        if what == "S":
            running[place] = (latest, name)
        else:
            yield name, Run(running.pop(place)[0], latest, place, what, pid)
    for place, (start_ns, name) in running.items():
        yield name, Run(start_ns, kills.get(pid, latest), place, "", pid)


def _read_kills(folder: Path) -> dict[int, int]:
    path = folder / KILLS
    if not path.exists():
        return {}
    pairs = (line.split() for line in path.read_text("ascii").splitlines())
    return {int(pid): int(at) for pid, at in pairs}


def main() -> int:
    """Print what a folder's ledgers say; 0 when nothing was lost, out of order or overlapped."""
    if len(sys.argv) != 2:
        print("usage: python -m topologies.flights.audit LEDGER_FOLDER", file=sys.stderr)
        return 2
    findings = audit(Path(sys.argv[1]))
    print(f"{findings.records:,} records, {findings.attempts:,} attempts, {findings.repeated:,} repeated, "
          f"lost {findings.lost}, out of order {findings.out_of_order}, overlapped {findings.overlapped}")  # fmt: skip
    for line in findings.examples[:20]:
        print(" ", line)
    return 0 if findings.clean else 1


if __name__ == "__main__":
    sys.exit(main())
