"""What the download adds to the package that does it: files that are whole, or not there."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from jgo.maven import Artifact, MavenContext, PythonResolver

from streamq.local.maven import WholeFiles, is_whole


def artifact_in(repository: Path, packaging: str = "jar") -> Artifact:
    """A file that is not there yet."""
    context = MavenContext(resolver=WholeFiles(), repo_cache=repository)
    return context.project("org.example", "thing").at_version("1.0").artifact(packaging=packaging)


def write_jar(path: Path) -> None:
    """A small jar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("content", b"x" * 1000)


def test_a_file_appears_at_its_place_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = artifact_in(tmp_path)
    place = artifact.cached_path
    assert place is not None

    def download(self: PythonResolver, wanted: Artifact) -> Path | None:
        beside = wanted.cached_path
        assert beside is not None
        write_jar(beside)
        assert not place.exists(), "while it arrives it is not at its place"
        return beside

    monkeypatch.setattr(PythonResolver, "download", download)
    assert artifact.resolve() == place
    assert is_whole(place)
    assert [path.name for path in tmp_path.iterdir()] == ["org"], "nothing else is left"


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), OSError("connection reset")])
def test_nothing_is_left_of_an_interrupted_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: BaseException
) -> None:
    def download(self: PythonResolver, wanted: Artifact) -> Path | None:
        beside = wanted.cached_path
        assert beside is not None
        beside.parent.mkdir(parents=True)
        beside.write_bytes(b"PK half a ja")
        raise ending

    monkeypatch.setattr(PythonResolver, "download", download)
    with pytest.raises(type(ending)):
        artifact_in(tmp_path).resolve()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("packaging", ["jar", "pom"])
def test_what_arrives_damaged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaging: str) -> None:
    def download(self: PythonResolver, wanted: Artifact) -> Path | None:
        beside = wanted.cached_path
        assert beside is not None
        beside.parent.mkdir(parents=True)
        beside.touch()
        return beside

    monkeypatch.setattr(PythonResolver, "download", download)
    with pytest.raises(RuntimeError, match=rf"thing-1\.0\.{packaging} did not arrive whole"):
        artifact_in(tmp_path, packaging).resolve()


def test_a_jar_with_one_wrong_byte_is_not_whole(tmp_path: Path) -> None:
    jar = tmp_path / "thing.jar"
    write_jar(jar)
    assert is_whole(jar)
    content = bytearray(jar.read_bytes())
    content[100] ^= 1
    jar.write_bytes(content)
    assert not is_whole(jar)
    jar.write_bytes(content[:500])
    assert not is_whole(jar)
