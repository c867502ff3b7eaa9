"""The app: image files come in by name, thumbnails lie beside them afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import streamq as sq
from topologies.thumbnails.records import Image
from topologies.thumbnails.resize import BrokenImageError, inside, make_thumbnails

FOLDER = "THUMBNAILS_FOLDER"
DEFAULT_FOLDER = ".streamq/thumbnails"

app = sq.App("thumbnails", version="1")
images = app.topic("images", value=Image, key=str, partitions=6)


@app.processor(images, concurrency=2, timeout_s=60, retry=sq.RetryPolicy(max_attempts=3, backoff_s=0.5))
def thumbnail(image: Image, ctx: sq.Context) -> None:
    """Make the thumbnails of one image. Broken files are dead letters; a file that is not there is waited for a
    little, since its upload may still be under way.

    A plain `def` on few threads: Pillow holds the processor, not the network. More of it at once: `--processes`.
    """
    if not image.widths or not all(16 <= width <= 4096 for width in image.widths):
        raise sq.Reject(f"widths are {list(image.widths)}: use numbers from 16 to 4096, at least one")
    try:
        written = make_thumbnails(inside(sources(), image.path), results(), image.widths)
    except BrokenImageError as error:
        raise sq.Reject(str(error)) from error
    ctx.logger.debug("Thumbnails are written.", extra={"event": "thumbnails_written", "count": len(written)})


def folder() -> Path:
    """Where images and thumbnails lie: `THUMBNAILS_FOLDER`, else below the current folder."""
    return Path(os.environ.get(FOLDER) or DEFAULT_FOLDER)


def sources() -> Path:
    """Where the images are looked for."""
    return folder() / "images"


def results() -> Path:
    """Where the thumbnails go."""
    return folder() / "thumbnails"
