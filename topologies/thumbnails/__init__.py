"""Thumbnails of images: CPU-bound work, so run it in several processes.

python -m topologies.thumbnails.samples          makes images, some of them broken
streamq worker topologies.thumbnails:app --processes 2
"""

from topologies.thumbnails.pipeline import app, images, thumbnail

__all__ = ["app", "images", "thumbnail"]
