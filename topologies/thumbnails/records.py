"""One image that needs thumbnails."""

from __future__ import annotations

import msgspec


class Image(msgspec.Struct, frozen=True):
    """An image file below the topology's folder, and the widths in pixels that are wanted of it."""

    path: str
    widths: tuple[int, ...] = (320, 64)
