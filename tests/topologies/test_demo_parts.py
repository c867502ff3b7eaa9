"""The demo's parts: what it counts, where it writes, and that it finds fault with what is faulty."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from streamq.demo import verdict
from streamq.demo.folder import demo_folder
from streamq.demo.verdict import Verdict
from streamq.demo.working import Kill, LedgerTail
from streamq.model.errors import ConfigError
from topologies.flights.audit import Findings
from topologies.flights.check import Comparison

SOUND = Findings(records=10, done=9, rejected=1, attempts=12, repeated=2, unfinished=2, processes=3, seconds=1.0)
EQUAL = Comparison(4, 4, 9, 9, 1, ())


def verdict_of(findings: Findings = SOUND, comparison: Comparison = EQUAL, dead: int = 1) -> Verdict:
    """A verdict, sound unless said otherwise."""
    return Verdict(findings, comparison, {"rejected": dead}, 0, Kill(77, 4), 0.5)


def test_a_sound_run_has_no_faults() -> None:
    assert verdict_of().faults() == []


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (verdict_of(Findings(rejected=1, lost=3)), "3 records lost"),
        (verdict_of(Findings(rejected=1, out_of_order=1)), "1 records out of order"),
        (verdict_of(Findings(rejected=1, overlapped=2)), "2 attempts overlapped"),
        (verdict_of(comparison=EQUAL._replace(differences=("N1: legs is 1, should be 2",))), "1 figures differ"),
        (verdict_of(dead=2), "dead letters are {'rejected': 2}, rejected were 1"),
    ],
)
def test_each_fault_is_named(result: Verdict, fault: str) -> None:
    assert any(line.startswith(fault) for line in result.faults())


def test_the_table_says_it_all() -> None:
    output = io.StringIO()
    verdict.show(verdict_of(), Console(file=output, width=160))
    text = output.getvalue()
    for part in ("10 records/s", "20 records/s", "in flight at the kill", "repeated", "lost", "out of order"):
        assert part in text


def test_the_tail_counts_ends_once_and_waits_for_whole_lines(tmp_path: Path) -> None:
    tail = LedgerTail(tmp_path)
    assert tail.look() == 0
    one, two = tmp_path / "1.ledger", tmp_path / "2.ledger"
    one.write_text("S 1 0 0 1 D \nD 2 0 0 1 D \nS 3")
    assert tail.look() == 1
    one.write_text("S 1 0 0 1 D \nD 2 0 0 1 D \nS 3 0 1 1 a\nR 4 0 1 1 a\n")
    two.write_text("S 1 0 2 1 b\nF 2 0 2 1 b\n")
    assert tail.look() == 2
    assert tail.look() == 2
    assert tail.pids() == [1, 2]


def test_the_folder_is_emptied_of_the_last_run_and_of_nothing_else(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with demo_folder(tmp_path) as folder:
        (folder.ledger / "1.ledger").write_text("S 1 0 0 1 a\n")
        folder.database.write_text("old")
        folder.kafka.mkdir()
    assert not folder.kafka.exists()
    assert folder.database.exists()
    with demo_folder(tmp_path) as folder:
        assert list(folder.ledger.iterdir()) == []
        assert not folder.database.exists()
    assert mine.read_text() == "mine"


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        demo_folder(tmp_path),
        pytest.raises(ConfigError, match="another demo runs in"),
        demo_folder(tmp_path),
    ):
        pass


def test_without_a_wish_it_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with demo_folder(None) as folder:
        assert folder.path == tmp_path / ".streamq" / "demo"


def test_a_wanted_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wanted = tmp_path / "file" / "below"
    with pytest.raises(ConfigError, match=f"--data-dir is '{wanted}'"), demo_folder(wanted):
        pass
