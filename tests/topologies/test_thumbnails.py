"""Thumbnails: every sound image has its thumbnails, every broken file is a dead letter and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import streamq as sq
from tests.topologies.kafka_runs import connected, reasons, wait_until_settled, worker
from topologies.thumbnails import app, images, pipeline
from topologies.thumbnails.records import Image
from topologies.thumbnails.samples import make_broken, make_samples


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of this test's own."""
    monkeypatch.setenv(pipeline.FOLDER, str(tmp_path / "pictures"))


def check_results(names: list[str]) -> None:
    """Two thumbnails of each of these and nothing else."""
    wanted = {f"{Path(name).stem}-{width}.jpg" for name in names for width in (320, 64)}
    assert {path.name for path in pipeline.results().iterdir()} == wanted


def test_on_the_harness() -> None:
    sound, broken = make_samples(pipeline.sources(), 7, size=(400, 300)), make_broken(pipeline.sources())
    with sq.testing.harness(app) as h:
        for name in [*broken, *sound]:
            h.publish(images, Image(name), key=name)
        h.publish(images, Image("never-uploaded.jpg"), key="never-uploaded.jpg")
        h.publish(images, Image("../../secret.png"), key="secret")
        h.publish(images, Image(sound[0], (0,)), key="widths")
        h.run_until_idle()
        letters = {letter.key: letter for letter in h.dead_letters("thumbnail")}
    assert letters.keys() == {*broken, "never-uploaded.jpg", "secret", "widths"}
    assert letters["never-uploaded.jpg"].reason == "attempts"
    assert {letters[name].reason for name in [*broken, "secret", "widths"]} == {"rejected"}
    assert letters["widths"].error_message == "widths are [0]: use numbers from 16 to 4096, at least one"
    check_results(sound)


@pytest.mark.kafka
def test_on_kafka_in_two_processes(kafka_bootstrap: str, tmp_path: Path) -> None:
    sound, broken = make_samples(pipeline.sources(), 21), make_broken(pipeline.sources())
    log = tmp_path / "worker.log"
    with connected(app, kafka_bootstrap):
        for publication in [app.publish(images, Image(name), key=name) for name in [*broken, *sound]]:
            publication.result(30)
        with worker("topologies.thumbnails:app", kafka_bootstrap, log, "--processes", "2") as process:
            wait_until_settled(app, ["thumbnail"], process, log)
        assert reasons(app, "thumbnail") == {"rejected": len(broken)}
    check_results(sound)
