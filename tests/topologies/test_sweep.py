"""A sweep deletes what has expired below its folder, and nothing else whatever lies there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from topologies.cleanup.sweep import MOST_DEEP, FolderError, sweep

CUT_OFF = 1_000_000.0


def make(path: Path, changed_at: float) -> Path:
    """A file of three bytes that was last changed at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"abc")
    os.utime(path, (changed_at, changed_at))
    return path


def test_expired_files_go_and_younger_ones_stay(tmp_path: Path) -> None:
    old, deep = make(tmp_path / "old", CUT_OFF - 1), make(tmp_path / "a" / "b" / "old", CUT_OFF - 1)
    young, edge = make(tmp_path / "a" / "young", CUT_OFF + 1), make(tmp_path / "edge", CUT_OFF)
    swept = sweep(tmp_path, "", CUT_OFF, 100)
    assert (swept.deleted, swept.freed_bytes, swept.failed, swept.more) == (2, 6, (), False)
    assert not old.exists()
    assert not deep.exists()
    assert young.exists()
    assert edge.exists()


def test_only_the_folder_named_is_swept(tmp_path: Path) -> None:
    inside, beside = make(tmp_path / "a" / "old", 0), make(tmp_path / "b" / "old", 0)
    assert sweep(tmp_path, "a", CUT_OFF, 100).deleted == 1
    assert not inside.exists()
    assert beside.exists()


def test_a_batch_ends_when_it_is_full_and_the_next_goes_on(tmp_path: Path) -> None:
    for number in range(5):
        make(tmp_path / f"{number}", 0)
    batches = [sweep(tmp_path, "", CUT_OFF, 2) for _ in range(3)]
    assert [(batch.deleted, batch.more) for batch in batches] == [(2, True), (2, True), (1, False)]


@pytest.mark.parametrize("folder", ["/etc", "..", "a/../../b", "link", "link/below", "missing", "file"])
def test_folders_that_are_not_below_the_root_are_refused(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "root"
    outside = make(tmp_path / "outside" / "below" / "old", 0)
    make(root / "file", CUT_OFF + 1)
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(FolderError, match=re.escape(f"folder {folder!r}")):
        sweep(root, folder, CUT_OFF, 100)
    assert outside.exists()


def test_links_are_not_followed_and_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = make(tmp_path / "outside" / "old", 0)
    (root / "to-folder").symlink_to(outside.parent)
    (root / "to-file").symlink_to(outside)
    (root / "to-nothing").symlink_to(tmp_path / "nothing")
    assert sweep(root, "", CUT_OFF, 100).deleted == 0
    assert outside.exists()
    assert sorted(entry.name for entry in root.iterdir()) == ["to-file", "to-folder", "to-nothing"]


def test_pipes_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.utime(tmp_path / "pipe", (0, 0))
    assert sweep(tmp_path, "", CUT_OFF, 100).deleted == 0


def test_too_many_levels_are_named_and_not_entered(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["d"] * (MOST_DEEP + 2)))
    make(deep / "old", 0)
    swept = sweep(tmp_path, "", CUT_OFF, 100)
    assert swept.deleted == 0
    assert len(swept.failed) == 1
    assert swept.failed[0].endswith("folders deep")


def test_a_missing_root_is_an_error_of_the_machine_not_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sweep(tmp_path / "not-mounted", "", CUT_OFF, 100)
