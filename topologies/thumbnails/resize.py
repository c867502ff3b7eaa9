"""Image files to thumbnail files, with Pillow. No Kafka here."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 50_000_000
"""Larger images are refused before they are unpacked: a small file may hold a picture that fills the memory."""
QUALITY = 85


class BrokenImageError(Exception):
    """The file is no image, or a damaged or an immense one. Trying again does not help."""


def inside(folder: Path, path: str) -> Path:
    """The file that a task names. Raises `BrokenImageError` where the name leads out of the folder."""
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise BrokenImageError(f"path {path!r} leads out of the folder for images")
    return file


def make_thumbnails(source: Path, folder: Path, widths: Iterable[int]) -> list[Path]:
    """Write a JPEG of each width, as `<name>-<width>.jpg`, and return their paths. Never larger than the source.

    A file appears whole or not at all, and a repeat writes the same again.

    Raises:
        BrokenImageError: the source cannot be read as an image.
        FileNotFoundError: the source is not there (yet).
    """
    picture = _read(source)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for width in widths:
        target = folder / f"{source.stem}-{width}.jpg"
        small = picture.copy()
        small.thumbnail((width, picture.height), Image.Resampling.LANCZOS)
        _write(small, target)
        written.append(target)
    return written


def _read(source: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS is the limit here
            with Image.open(source) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise BrokenImageError(f"{source.name} has {image.width} x {image.height} pixels")
                upright = ImageOps.exif_transpose(image)
                return _on_white(upright)
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow has no error of its own for damaged data: its readers raise these.
        raise BrokenImageError(f"{source.name} is not readable as an image: {error}") from error


def _on_white(image: Image.Image) -> Image.Image:
    """JPEG knows no transparency: what shines through is white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _write(image: Image.Image, target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".thumbnail-")
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, "JPEG", quality=QUALITY)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
