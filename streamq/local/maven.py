"""Resolves and downloads from Maven Central by the package `jgo`, with what that leaves out: a file appears at its
place whole and checked or not at all, so that neither an interrupted download nor two at a time do harm."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from jgo.constants import default_maven_repo
from jgo.maven import Artifact, MavenContext, PythonResolver

SILENCE_TIMEOUT_S: Final = 30
"""How long the server may say nothing."""


class WholeFiles(PythonResolver):
    """Downloads each file beside its place and moves it there when it is complete."""

    def download(self, artifact: Artifact) -> Path:
        """Download one file to its place in the repository and return that. Blocks; may be called from several threads.

        Raises:
            OSError, RuntimeError: it cannot be had, or did not arrive whole; nothing is left of it.
        """
        place = artifact.cached_path
        if place is None:
            raise RuntimeError(f"{artifact} has no place in a repository")
        repository = artifact.context.repo_cache
        repository.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".arriving-", dir=repository) as folder:
            beside = MavenContext(
                repo_cache=Path(folder), remote_repos=artifact.context.remote_repos, timeout=SILENCE_TIMEOUT_S
            )
            project = beside.project(artifact.groupId, artifact.artifactId)
            twin = project.at_version(artifact.version).artifact(artifact.classifier, artifact.packaging)
            arrived = super().download(twin)
            if arrived is None or not is_whole(arrived):
                raise RuntimeError(f"{artifact.filename} did not arrive whole")
            place.parent.mkdir(parents=True, exist_ok=True)
            return arrived.replace(place)


def is_whole(path: Path) -> bool:
    """Whether a jar's entries have the checksums that it says; anything else only has to have content. Reads it all."""
    if path.suffix != ".jar":
        return path.stat().st_size > 0
    try:
        with zipfile.ZipFile(path) as jar:
            return jar.testzip() is None
    except (zipfile.BadZipFile, EOFError):
        return False


def resolve(coordinate: str, repository: Path, alone: Sequence[str] = ()) -> Sequence[Artifact]:
    """What `coordinate` needs to run, itself first, and then `alone` without what these need: resolved together, the
    versions that they wish for would go before those of `coordinate`.

    Downloads descriptions, not yet the jars: `.resolve()` of an artifact does that. What the user's own Maven
    repository holds is used from there and not downloaded. Blocks.

    Raises:
        OSError, RuntimeError, ValueError, SyntaxError: a description cannot be had, or is no XML.
    """
    context = MavenContext(
        resolver=WholeFiles(),
        repo_cache=repository,
        local_repos=[default_maven_repo()],
        timeout=SILENCE_TIMEOUT_S,
    )
    inputs, needed = context.resolver.resolve([context.create_dependency(coordinate)])
    return [
        *(dependency.artifact for dependency in inputs),
        *(dependency.artifact for dependency in needed if dependency.scope in {"compile", "runtime"}),
        *(context.create_dependency(one).artifact for one in alone),
    ]
