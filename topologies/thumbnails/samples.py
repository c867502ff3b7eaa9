"""Image files to try the topology with: sound ones of many kinds, and broken ones.

python -m topologies.thumbnails.samples [COUNT]
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

from PIL import Image as Pillow

from topologies.thumbnails.pipeline import sources

KINDS = (
    ("RGB", "jpg"), ("RGB", "png"), ("RGBA", "png"), ("L", "jpg"), ("P", "gif"), ("CMYK", "jpg"), ("RGB", "webp"),
)  # fmt: skip
ROTATED = 6
"""EXIF's word for: turn by 90 degrees to the right."""


def make_samples(folder: Path, count: int, size: tuple[int, int] = (1200, 800)) -> list[str]:
    """Write `count` sound images and return their names. The third one in ten is stored lying on its side."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(count):
        mode, ending = KINDS[number % len(KINDS)]
        name = f"image-{number:04d}.{ending}"
        exif = Pillow.Exif()
        if ending == "jpg" and number % 10 == 3:
            exif[0x0112] = ROTATED
        _picture(number, size).convert(mode).save(folder / name, exif=exif)
        names.append(name)
    return names


def make_broken(folder: Path) -> list[str]:
    """Write files that look like images and are none, and return their names: empty, text, cut off, immense."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("This is no picture.\n")
    whole = folder / "whole.jpg"
    _picture(1, (1200, 800)).save(whole)
    (folder / "cut-off.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    # 100 million pixels in some kilobytes.
    Pillow.new("1", (10_000, 10_000)).save(folder / "immense.png")
    return ["empty.jpg", "text.png", "cut-off.jpg", "immense.png"]


def _picture(number: int, size: tuple[int, int]) -> Pillow.Image:
    """Three slopes of light, shifted by the number, so that no two pictures are alike."""
    slope = Pillow.linear_gradient("L").resize(size)
    bands = (slope.rotate(37 * number), slope.rotate(90 + 11 * number), slope.point(lambda p: (p + 29 * number) % 256))
    return Pillow.merge("RGB", bands)


def main() -> int:
    """Write samples into the topology's folder and print a line to publish for each."""
    arguments = ArgumentParser(description="Writes image files, sound and broken ones, and prints a task for each.")
    arguments.add_argument("count", type=int, nargs="?", default=20)
    count: int = arguments.parse_args().count
    for name in make_samples(sources(), count) + make_broken(sources()):
        print(f'{{"key": "{name}", "value": {{"path": "{name}"}}}}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
