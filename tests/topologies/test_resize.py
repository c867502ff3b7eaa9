"""Thumbnails of every kind of image have the right size and stand upright; broken files are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from topologies.thumbnails.resize import BrokenImageError, inside, make_thumbnails
from topologies.thumbnails.samples import KINDS, make_broken, make_samples


def test_every_kind_of_image_becomes_a_jpeg_of_the_width(tmp_path: Path) -> None:
    for name in make_samples(tmp_path / "in", len(KINDS), size=(300, 200)):
        small, tiny = make_thumbnails(tmp_path / "in" / name, tmp_path / "out", (150, 60))
        with Image.open(small) as image:
            assert image.format == "JPEG"
            # The picture that lies on its side is turned: 200 by 300.
            assert image.size == ((150, 225) if "0003" in name else (150, 100))
        with Image.open(tiny) as image:
            assert image.width == 60
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_never_larger_than_the_source(tmp_path: Path) -> None:
    (name,) = make_samples(tmp_path, 1, size=(100, 50))
    (written,) = make_thumbnails(tmp_path / name, tmp_path / "out", (4096,))
    with Image.open(written) as image:
        assert image.size == (100, 50)


def test_what_shines_through_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (written,) = make_thumbnails(tmp_path / "clear.png", tmp_path / "out", (50,))
    with Image.open(written) as image:
        assert image.getpixel((25, 25)) == (255, 255, 255)


def test_broken_files_are_told_and_leave_nothing(tmp_path: Path) -> None:
    names = make_broken(tmp_path / "in")
    assert len(names) == 4
    for name in names:
        with pytest.raises(BrokenImageError, match=name):
            make_thumbnails(tmp_path / "in" / name, tmp_path / "out", (64,))
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_not_broken(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_thumbnails(tmp_path / "later.jpg", tmp_path / "out", (64,))


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_paths_that_lead_out_of_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BrokenImageError, match="leads out"):
        inside(tmp_path, path)
