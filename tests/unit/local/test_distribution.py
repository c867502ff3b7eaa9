"""Where the local broker's jars come from, without asking anybody for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamq.local.distribution import KAFKA_VERSION, LIBS_VARIABLE, cache_folder, jars
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
