"""Deletes expired files below a folder and touches nothing else. No Kafka here.

Nothing outside of the folder can be reached, even if somebody puts symbolic links into it while the work goes on: each
folder is opened relative to its parent (`openat`) without following a link, and a file is deleted relative to the open
folder that it was seen in. Links themselves are left alone, as are devices, sockets and other file systems.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_NAMED: Final = 20
"""How many failed files a result names."""
MOST_DEEP: Final = 100
"""How many folders deep it goes: each level holds a descriptor."""


class FolderError(Exception):
    """The folder is not one below the root: absolute, with `..`, reached through a link, or not there at all."""


class Swept(NamedTuple):
    """How many files and bytes went, which files would not go, and whether the batch ended before the folder did."""

    deleted: int
    freed_bytes: int
    failed: tuple[str, ...]
    more: bool


def sweep(root: Path, folder: str, changed_before: float, batch: int) -> Swept:
    """Delete up to `batch` regular files that were last changed before a time (seconds since 1970). Empty folders stay.

    Raises:
        FolderError: `folder` is not below `root`. Nothing was done.
        OSError: `root` itself cannot be opened (not mounted, no rights).
    """
    work = _Batch(changed_before, batch)
    with _open_below(root, folder) as descriptor:
        work.device = os.fstat(descriptor).st_dev
        work.run(descriptor, PurePosixPath(folder))
    return Swept(work.deleted, work.freed_bytes, tuple(work.failed[:MOST_NAMED]), work.full)


class _Batch:
    def __init__(self, changed_before: float, batch: int) -> None:
        self._changed_before = changed_before
        self._batch = batch
        self.device = 0
        self.deleted = 0
        self.freed_bytes = 0
        self.failed: list[str] = []

    @property
    def full(self) -> bool:
        return self.deleted >= self._batch

    def run(self, descriptor: int, shown: PurePosixPath, depth: int = 0) -> None:
        """Work through one folder and those below it, by name, until the batch is full."""
        for name in sorted(os.listdir(descriptor)):
            if self.full:
                return
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < self._changed_before:
                    os.unlink(name, dir_fd=descriptor)
                    self.deleted += 1
                    self.freed_bytes += found.st_size
                elif stat.S_ISDIR(found.st_mode) and found.st_dev == self.device:
                    self._descend(descriptor, name, shown / name, depth + 1)
            except FileNotFoundError:
                continue  # somebody else deleted it
            except OSError as error:
                self.failed.append(f"{shown / name}: {error.strerror}")

    def _descend(self, descriptor: int, name: str, shown: PurePosixPath, depth: int) -> None:
        if depth > MOST_DEEP:
            self.failed.append(f"{shown}: more than {MOST_DEEP} folders deep")
            return
        below = os.open(name, _OPEN, dir_fd=descriptor)
        try:
            self.run(below, shown, depth)
        finally:
            os.close(below)


@contextmanager
def _open_below(root: Path, folder: str) -> Iterator[int]:
    """The folder as a descriptor, opened step by step from the root, so that no step leads elsewhere."""
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts or "\0" in folder:
        raise FolderError(f"folder {folder!r} is not below the folder that is cleaned: use a relative path")
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts:
            below = _open_part(descriptor, part, folder)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _open_part(descriptor: int, part: str, folder: str) -> int:
    try:
        return os.open(part, _OPEN, dir_fd=descriptor)
    except FileNotFoundError as error:
        raise FolderError(f"folder {folder!r}: there is no {part!r}") from error
    except NotADirectoryError as error:  # what O_NOFOLLOW with O_DIRECTORY makes of a link, too
        raise FolderError(f"folder {folder!r}: {part!r} is a link or a file, not a folder") from error
