"""The audit finds what it is there to find: each rule is broken once, and each break is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

import streamq as sq
from streamq.demo.working import LedgerTail
from streamq.model.records import Offset
from topologies.flights import ledger
from topologies.flights.audit import KILLS, audit
from topologies.flights.ledger import DONE, FileLedger


def write(folder: Path, pid: int, lines: str, *, first: int = 1) -> None:
    """The ledger of one process, a line for each word: "S0a" is the start of offset 0 of key a in partition 0. Times
    count up by one from `first`."""
    text = "".join(f"{w[0]} {at} 0 {w[1]} 1 {w[2]}\n" for at, w in enumerate(lines.split(), first))
    (folder / f"{pid}.ledger").write_text(text)


def test_a_sound_run(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a S1b D0a S2a D2a R1b")
    findings = audit(tmp_path, [(0, 0), (0, 1), (0, 2)])
    assert findings.clean
    assert (findings.records, findings.done, findings.rejected, findings.repeated) == (3, 2, 1, 0)


def test_lost_is_what_was_published_and_never_finished(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a D0a S1b")
    findings = audit(tmp_path, [(0, 0), (0, 1), (0, 2)])
    assert findings.lost == 2
    assert findings.examples == ["lost: partition 0, offset 1", "lost: partition 0, offset 2"]


def test_out_of_order_is_a_start_before_the_predecessor_is_finished(tmp_path: Path) -> None:
    write(tmp_path, 1, "S1a D1a S0a D0a")
    findings = audit(tmp_path)
    # The start of 1 before 0 was done, and 0's effect on top of 1's at the end.
    assert findings.out_of_order == 2
    assert not findings.clean


def test_a_failed_attempt_is_no_predecessor(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a F0a S1a D1a S0a D0a")
    assert audit(tmp_path).out_of_order == 2


def test_overlapped_is_two_attempts_of_a_key_at_once_in_two_processes(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a S1b D0a D1b")
    write(tmp_path, 2, "S0a D0a", first=2)
    findings = audit(tmp_path)
    assert findings.overlapped == 1
    assert findings.repeated == 1


def test_an_attempt_of_a_killed_process_ran_until_the_kill(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a")
    write(tmp_path, 2, "S0a D0a", first=8)
    (tmp_path / KILLS).write_text("1 7\n")
    assert audit(tmp_path).clean
    (tmp_path / KILLS).write_text("1 10\n")
    assert audit(tmp_path).overlapped == 1


def test_a_suffix_repeated_in_order_is_no_fault(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a D0a S1a D1a S2a")
    write(tmp_path, 2, "S1a D1a S2a D2a", first=8)
    (tmp_path / KILLS).write_text("1 7\n")
    findings = audit(tmp_path, [(0, 0), (0, 1), (0, 2)])
    assert findings.clean
    assert findings.repeated == 2


def test_an_old_effect_on_top_of_a_newer_one_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, 1, "S0a D0a S1a D1a S0a D0a")
    findings = audit(tmp_path)
    assert findings.out_of_order == 1
    assert findings.examples == ["old effect on top: key a, partition 0, offset 1"]


def test_records_without_a_key_stand_alone(tmp_path: Path) -> None:
    write(tmp_path, 1, "S1- S0- D1- D0-")
    assert audit(tmp_path).clean


def test_the_unfinished_last_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "1.ledger").write_text("S 1 0 0 1 a\nD 2 0 0 1 a\nS 3 0")
    findings = audit(tmp_path, [(0, 0)])
    assert findings.clean
    assert findings.attempts == 1


def test_a_ledger_that_grows_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FIRST_BYTES", 4096)
    written = FileLedger(tmp_path)
    for number in range(1000):
        record = sq.Record("flights", 0, Offset(number), b"N1", b"{}")
        written.note("S", record, 1)
        written.note(DONE, record, 1)
    findings = audit(tmp_path, [(0, number) for number in range(1000)])
    assert findings.clean
    assert (findings.done, findings.attempts, findings.unfinished) == (1000, 1000, 0)
    assert LedgerTail(tmp_path).look() == 1000
