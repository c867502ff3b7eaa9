"""`dlq redrive`, `purge` and `release` as an operator sees them: what is asked, said, and counted."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamq.core.journal_records import KeyState
from streamq.core.key_states import OnDead
from tests.serving_world import DLQ, RETRY, World, offsets

from .conftest import Call, Shop

CHARGE = ("shop:app", "charge")


@pytest.fixture
def world(shop: Shop) -> World:
    """The partition that dead letters stand in; `working` has an owner."""
    return World(cluster=shop.cluster)


@contextmanager
def working(world: World, meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """An owner carries requests out; `meanwhile` happens when they are written and it has not looked yet."""
    over = threading.Event()

    def work() -> None:
        while not (over.wait(0.005) or world.cluster.records(RETRY.topic)):
            pass
        meanwhile()
        while not over.wait(0.005):
            world.tick()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_redrive_moves_what_fits_and_adds_up(world: World, call: Call) -> None:
    world.bury(1, 2, value=b'{"amount": %d}')
    world.bury(3, key=b"other", value=b'{"amount": %d}')
    with working(world):
        answer = call("dlq", "redrive", *CHARGE, "--where", "value.amount > 1", "--yes")
    assert answer.code == 0, answer.err
    assert 'on_dead is "skip": later records of their keys went on before these 2 letters' in answer.out
    assert "2 dead letters: 2 redriven, 0 closed by somebody else, 0 failed" in answer.out
    assert sorted(offsets(world.entries)) == [2, 3]
    assert "no worker of shop.charge runs" in answer.err, "the owner here is no member"
    assert "no open dead letter fits" in call("dlq", "redrive", *CHARGE, "--key", "other").out
    assert "redriven" in call("dlq", "list", *CHARGE, "--key", "other").out


def test_redrive_as_json_is_one_document(world: World, call: Call) -> None:
    world.bury(1)
    with working(world):
        answer = call("dlq", "redrive", *CHARGE, "--json", "--yes")
    assert json.loads(answer.out) == {
        "selected": 1, "redriven": 1, "already": 0, "waiting": 0, "failed": 0, "failed_places": [],
    }  # fmt: skip


def test_a_dry_run_asks_for_nothing(world: World, call: Call) -> None:
    world.bury(1, 2)
    answer = call("dlq", "redrive", *CHARGE, "--dry-run")
    assert (answer.code, world.cluster.records(RETRY.topic)) == (0, [])
    assert "2 letters would be redriven; nothing was done" in answer.out
    plan = call("dlq", "purge", *CHARGE, "--dry-run", "--json", "--limit", "1")
    assert json.loads(plan.out) == {"selected": 1, "partitions": [{"partition": 0, "letters": 1}]}


def test_without_a_terminal_it_wants_a_yes(world: World, call: Call) -> None:
    world.bury(1)
    for command in ("redrive", "purge"):
        answer = call("dlq", command, *CHARGE)
        assert answer.code == 2
        assert "There is nobody to ask here: say --yes, or --dry-run" in answer.err
    assert world.cluster.records(RETRY.topic) == []


def test_what_is_not_waited_for_is_followed_by_the_next_run(world: World, call: Call) -> None:
    world.bury(1, 2)
    asked = call("dlq", "redrive", *CHARGE, "--yes", "--no-wait")
    assert (asked.code, "2 asked for and not done yet" in asked.out) == (0, True)
    assert "what is asked for stays in shop.charge.retry and is carried out when one comes" in asked.err
    with working(world):
        again = call("dlq", "redrive", *CHARGE, "--yes")
    assert "2 of them are asked for already" in again.out
    assert "2 dead letters: 2 redriven" in again.out
    assert sorted(offsets(world.entries)) == [1, 2]


def test_a_letter_that_cannot_go_back_is_a_failure_that_is_named(world: World, call: Call) -> None:
    world.bury(1, 2)
    with working(world, lambda: world.cluster.delete_records(DLQ, 1)):
        answer = call("dlq", "redrive", *CHARGE, "--yes")
    assert answer.code == 1
    assert "2 dead letters: 1 redriven, 0 closed by somebody else, 1 failed" in answer.out
    assert "still open, see the workers' logs: 0:0" in answer.err


def test_a_replays_letters_are_left_out_and_counted(world: World, call: Call) -> None:
    world.bury(1)
    world.cluster.append(DLQ, b"x", b"k", (("streamq.group", b"shop.charge.replay.y"),))
    answer = call("dlq", "redrive", *CHARGE, "--dry-run")
    assert "1 letters were given up by another group (a replay): they are left out" in answer.out
    assert "1 letters would be redriven" in answer.out


def test_purge_closes_and_says_so(world: World, call: Call) -> None:
    world.bury(1, 2)
    with working(world):
        answer = call("dlq", "purge", *CHARGE, "--yes", "--limit", "1")
    assert (answer.code, world.entries) == (0, [])
    assert "1 dead letters: 1 purged, 0 closed by somebody else, 0 failed" in answer.out


def test_an_edited_value_goes_back(world: World, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bury(1, 2, value=b'{"amount": -%d}')
    _editor(tmp_path, monkeypatch, 'sed -i "s/-1/100/" "$1"')
    with working(world):
        answer = call("dlq", "redrive", *CHARGE, "--yes", "--edit")
    assert answer.code == 0, answer.err
    values = {entry.offset: entry.value for entry in world.entries}
    assert values == {1: b'{"amount":100.0}', 2: b'{"amount": -2}'}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo \'{"amount": "much"}\' > "$1"', "edited value of dead letter 0:0 is not usable, nothing was asked for"),
        (': > "$1"', "the editor left nothing of dead letter 0:0"),
    ],
)
def test_an_edit_that_is_no_value_asks_for_nothing(
    world: World, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    world.bury(1, value=b'{"amount": %d}')
    _editor(tmp_path, monkeypatch, script)
    answer = call("dlq", "redrive", *CHARGE, "--yes", "--edit")
    assert (answer.code, world.cluster.records(RETRY.topic)) == (2, [])
    assert message in answer.err


def _editor(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An editor that saves what the script makes of the file, a moment later than it was written."""
    editor = folder / "editor"
    editor.write_text(f'#!/bin/sh\n{script}\ntouch -d "+5 seconds" "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("VISUAL", str(editor))


def test_letters_are_published_elsewhere_and_closed(world: World, call: Call) -> None:
    world.bury(1, 2, headers=(("mine", b"1"),))
    world.cluster.create_topic("orders.again")
    with working(world):
        answer = call("dlq", "redrive", *CHARGE, "--yes", "--to", "orders.again", "--rate", "1000/s")
    assert "2 dead letters: 2 redriven" in answer.out
    assert [record.value for record in world.cluster.records("orders.again")] == [b"v1", b"v2"]
    assert [mark.kind for mark in world.marks] == ["purged", "purged"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rate", "fast"), "--rate is 'fast': use a number above 0 and a time"),
        (("--rate", "0/s"), "--rate is '0/s'"),
        (("--where", "value.amount >"), "--where"),
        (("--yes", "--to", "nowhere"), "topic nowhere does not exist"),
        (("--yes", "--to", "shop.charge.retry"), "which only the processor's owner writes"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_asked(
    world: World, call: Call, arguments: tuple[str, ...], message: str
) -> None:
    world.bury(1)
    answer = call("dlq", "redrive", *CHARGE, *arguments)
    assert (answer.code, world.cluster.records(RETRY.topic)) == (2, [])
    assert message in answer.err


def test_no_topics_say_how_they_come_to_be(shop: Shop, call: Call) -> None:
    answer = call("dlq", "redrive", *CHARGE, "--yes")
    assert (answer.code, "topic shop.charge.dlq does not exist" in answer.err) == (2, True)
    shop.cluster.create_topic(DLQ.topic)
    assert "no open dead letter fits" in call("dlq", "purge", *CHARGE).out


# Keys that stand


@pytest.fixture
def held(shop: Shop) -> World:
    """Key `k` is held by its dead letter."""
    return _standing(shop, "hold", "held")


def _standing(shop: Shop, on_dead: OnDead, kind: str) -> World:
    world = World(on_dead, shop.cluster)
    world.bury(1)
    world.write(KeyState(b"k", "held" if kind == "held" else "chained"))
    world.own()
    return world


def test_release_gives_the_head_another_chance(held: World, call: Call) -> None:
    with working(held):
        answer = call("dlq", "release", *CHARGE, "--key", "k")
    assert (answer.code, answer.out) == (0, "key 'k' goes on\n"), answer.err
    assert (offsets(held.entries), held.standing()) == ([1], {})


def test_release_skips_the_head_if_it_is_told_to(held: World, call: Call) -> None:
    with working(held):
        answer = call("dlq", "release", *CHARGE, "--key", "k", "--skip-head", "--json")
    assert json.loads(answer.out) == {"key": "k", "partitions": 1, "released": True}
    assert (held.entries, held.standing()) == ([], {})


def test_release_that_is_not_waited_for_says_so(held: World, call: Call) -> None:
    answer = call("dlq", "release", *CHARGE, "--key", "k", "--no-wait")
    assert answer.out == "key 'k' goes on as soon as a worker has carried it out\n"


def test_release_of_another_key_is_wrong_usage(held: World, shop: Shop, call: Call) -> None:
    answer = call("dlq", "release", *CHARGE, "--key", "other")
    assert (answer.code, "key 'other' is not held" in answer.err) == (2, True)
    _standing(shop, "chain", "chained")
    answer = call("dlq", "release", *CHARGE, "--key", "k")
    assert (answer.code, "is chained in partition 0" in answer.err) == (2, True)
