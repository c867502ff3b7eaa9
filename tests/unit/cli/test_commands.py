"""What the operator's commands do and print."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from streamq.core.journal_records import Entry, KeyState, encode
from streamq.model import headers as names
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.testing import MemoryCluster

from .conftest import Call, Shop

DLQ = "shop.charge.dlq"
RETRY = "shop.charge.retry"


def bury(cluster: MemoryCluster, value: bytes, reason: bytes = b"rejected", key: bytes = b"k") -> None:
    """A dead letter of `charge`."""
    cluster.create_topic(DLQ, 2)
    place = TopicPartition(DLQ, 0)
    headers = (
        (names.REASON, reason),
        (names.ERROR_TYPE, b"Reject"),
        (names.ERROR_MESSAGE, b"negative amount"),
        (names.ERROR_STACK, b"Traceback of it"),
        (names.SOURCE_TOPIC, b"orders"),
        (names.SOURCE_PARTITION, b"0"),
        (names.SOURCE_OFFSET, str(3 + cluster.end(place)).encode()),
        (names.ATTEMPTS, b"1"),
        (names.DEAD_AT_MS, b"1800000000000"),
    )
    cluster.append(place, value, key, headers)


def test_topics_are_created_checked_and_listed(shop: Shop, call: Call) -> None:
    before = call("topics", "check", "shop:app")
    assert before.code == 1
    assert "kafka-topics.sh --bootstrap-server localhost:9092 --create --topic orders --partitions 2" in before.out
    dry = call("topics", "create", "shop:app", "--dry-run")
    assert dry.code == 0
    assert f"--create --topic {DLQ} --partitions 2 --config cleanup.policy=delete" in dry.out
    assert "run `streamq topics check` afterwards" in dry.err
    assert len(json.loads(call("topics", "create", "shop:app", "--dry-run", "--json").out)) == 4
    assert shop.cluster.partitions("orders") == []
    assert "created  orders\n" in call("topics", "create", "shop:app").out
    assert json.loads(call("topics", "create", "shop:app", "--json").out) == dict.fromkeys(
        ["orders", "counts", DLQ, RETRY], "there already"
    )
    assert call("topics", "create", "shop:app", "--dry-run").out == "nothing is missing\n"
    shop.cluster.admin().add_partitions("orders", 4, 1.0)
    assert f"--alter --topic {DLQ} --partitions 4" in call("topics", "create", "shop:app", "--dry-run").out
    assert f"extended  {DLQ}\nextended  {RETRY}\n" in call("topics", "create", "shop:app").out
    assert call("topics", "check", "shop:app") == (0, "all 4 topics are as the app needs them\n", "")
    rows = json.loads(call("topics", "list", "shop:app", "--json").out)
    assert {row["topic"]: row["partitions"] for row in rows} == {"orders": 4, "counts": 1, DLQ: 4, RETRY: 4}
    assert "dead letters of charge" in call("topics", "list", "shop:app").out


def test_what_has_no_processor_any_more_is_told_by_the_check(shop: Shop, call: Call) -> None:
    call("topics", "create", "shop:app")
    shop.cluster.create_topic("shop.gone.dlq")
    shop.cluster.append(TopicPartition("shop.gone.dlq", 0), b"{}")
    answer = call("topics", "check", "shop:app")
    assert answer.code == 1
    assert "shop.gone.dlq holds 1 open dead letters of a processor 'gone' that the app does not have" in answer.out
    assert "--bootstrap-server localhost:9092 --delete --topic shop.gone.dlq" in answer.out
    assert "to mend them" not in answer.out, "no command is offered that deletes something if it is run unread"


def test_one_record_is_published(shop: Shop, call: Call) -> None:
    one = call("publish", "shop:app", "orders", "--key", "k", "--value", '{"amount": 1}', "--header", "a=b=c")
    assert one.code == 0
    [record] = shop.cluster.records("orders")
    assert (record.key, record.headers) == (b"k", (("a", b"b=c"),))
    assert one.out == f"published to orders {record.partition}:0\n"
    again = call("publish", "shop:app", "orders", "--value", '{"amount": 1}', "--partition", "1", "--json")
    assert json.loads(again.out)["partition"] == 1


def test_a_value_that_is_not_its_type_is_not_published(shop: Shop, call: Call) -> None:
    answer = call("publish", "shop:app", "orders", "--value", '{"amount": "much"}')
    assert answer.code == 1
    assert "value is not a Order of topic orders: Expected `float`, got `str` - at `$.amount`" in answer.err
    assert shop.cluster.records("orders") == []


def test_a_file_is_published_and_bad_lines_are_told(shop: Shop, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text('{"value": {"amount": 1}}\nnonsense\n{"value": {"amount": 2}}\n')
    answer = call("publish", "shop:app", "orders", "--file", str(path))
    assert (answer.code, answer.out) == (1, "2 published, 1 refused\n")
    assert answer.err.startswith("line 2: line is not usable: JSON is malformed")
    summary = json.loads(call("publish", "shop:app", "orders", "--file", str(path), "--json").out)
    assert (summary["published"], summary["refused"][0]["line"]) == (2, 2)
    assert len(shop.cluster.records("orders")) == 4


def test_stdin_is_published(shop: Shop, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"value": {"amount": 1}}\n')))
    assert call("publish", "shop:app", "orders", "--file", "-") == (0, "1 published, 0 refused\n", "")


def test_lag_sums_up(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 2)
    shop.publish(1.0, "ada")
    shop.publish(2.0, "ada")
    bury(shop.cluster, b"{}")
    text = call("lag", "shop:app")
    assert text.code == 0
    assert "charge on orders as shop.charge" in text.out
    assert "0 key ada, attempt 1" in text.out
    assert "2 records behind" in text.out
    assert "1 dead letters" in text.out
    rows = json.loads(call("lag", "shop:app", "--processor", "charge", "--json").out)
    assert sum(row["lag"] for row in rows) == 2


def test_lag_tells_what_is_parked_where_something_is(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 2)
    shop.cluster.create_topic(RETRY, 2)
    assert "next attempt" not in call("lag", "shop:app").out
    for record in (Entry(b"ada", b"{}", (), 0, b"s" * 16, 0, 3, 2, 9_000), KeyState(b"bob", "chained")):
        payload = encode(record)
        shop.cluster.append(TopicPartition(RETRY, 1), payload.value, payload.key, payload.headers)
    text = call("lag", "shop:app").out
    for part in ("next attempt", "chained", "1 parked, the next attempt now; 0 dead letters"):
        assert part in text
    assert "held" not in text, "columns of nothing are left out"
    [_, row] = json.loads(call("lag", "shop:app", "--json").out)
    assert (
        row["parked"] | {"entries": 1, "oldest_offset": 3, "next_at_ms": 9_000, "chained_keys": ["bob"]}
        == (row["parked"])
    )
    shop.cluster.append(TopicPartition(RETRY, 1), b"nonsense")
    assert "charge, partition 1: what is parked is not known: offset 2: a record of the retry topic without" in (
        call("lag", "shop:app").out
    )


def test_nobody_works_is_said(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 2)
    answer = call("workers", "shop:app")
    assert (answer.code, answer.out) == (
        0,
        "workers: nothing\nnobody works for charge: start `streamq worker shop:app`\n",
    )
    assert json.loads(call("workers", "shop:app", "--json").out) == []


def test_dead_letters_are_listed_by_reason_key_and_number(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 2)
    for key, reason in ((b"ada", b"rejected"), (b"bob", b"attempts"), (b"ada", b"attempts")):
        bury(shop.cluster, b"{}", reason, key)
    listed = [json.loads(line) for line in call("dlq", "list", "shop:app", "charge", "--json").out.splitlines()]
    assert [(row["offset"], row["reason"]) for row in listed] == [(0, "rejected"), (1, "attempts"), (2, "attempts")]
    assert len(call("dlq", "list", "shop:app", "charge", "--json", "--reason", "attempts").out.splitlines()) == 2
    assert len(call("dlq", "list", "shop:app", "charge", "--json", "--key", "ada").out.splitlines()) == 2
    few = call("dlq", "list", "shop:app", "charge", "--limit", "1").out
    assert "2 more: raise --limit, or use --where, --state, --reason or --key" in few
    assert "negative amount" in few
    assert "orders 0:3" in few


def test_dead_letters_are_listed_by_what_is_in_them(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 2)
    for amount, reason in ((50, b"rejected"), (150, b"rejected"), (200, b"attempts")):
        bury(shop.cluster, b'{"amount": %d}' % amount, reason)
    listed = call(
        "dlq", "list", "shop:app", "charge", "--json", "--where", 'reason == "rejected" and value.amount > 99'
    )
    assert [json.loads(line)["offset"] for line in listed.out.splitlines()] == [1]
    wrong = call("dlq", "list", "shop:app", "charge", "--where", "amount > 99")
    assert wrong.code == 2
    assert "--where, character 1: expected a name (reason, " in wrong.err
    assert "a field of the value is value.amount" in wrong.err


def test_a_dead_letter_is_shown_whole(shop: Shop, call: Call) -> None:
    bury(shop.cluster, b'{"amount": -1.0}')
    text = call("dlq", "show", "shop:app", "charge", "0:0").out
    for part in ("source     orders 0:3", 'value      {"amount":-1.0}', "Reject: negative amount", "Traceback of it"):
        assert part in text
    assert json.loads(call("dlq", "show", "shop:app", "charge", "0:0", "--json").out)["value"] == {"amount": -1.0}


def test_a_dead_letter_cannot_command_the_terminal(shop: Shop, call: Call) -> None:
    bury(shop.cluster, b"\x1b]0;owned\x07 t\xc3\xa4xt", key=b"\x1b[2J")
    text = call("dlq", "show", "shop:app", "charge", "0:0").out
    assert "\x1b" not in text
    assert "\\x1b]0;owned\\x07 täxt" in text
    assert "\x1b" not in call("dlq", "list", "shop:app", "charge").out


def test_a_replay_runs_in_a_group_of_its_own_and_not_twice(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 2)
    for amount, key in ((1.0, "ada"), (-2.0, "ada"), (3.0, "bob"), (4.0, "ada")):
        shop.publish(amount, key)
    live = CommitPoint(NextOffset(1))
    shop.cluster.admin().set_group_offsets("shop.charge", {TopicPartition("orders", 0): live}, 1.0)
    plan = json.loads(call("replay", "shop:app", "charge", "--key", "ada", "--name", "r", "--dry-run", "--json").out)
    assert (plan["group"], plan["key"], plan["resumed"]) == ("shop.charge.replay.r", "ada", False)
    assert "4 offsets to look at, of them those with key 'ada'; nothing was done" in (
        call("replay", "shop:app", "charge", "--key", "ada", "--dry-run").out
    )
    assert shop.done == []
    first = call("replay", "shop:app", "charge", "--key", "ada", "--name", "r")
    assert first.code == 0, first.err
    assert first.out == "2 records done, 0 attempts failed, 1 dead letters\n"
    assert "replaying 4 offsets of orders as shop.charge.replay.r" in first.err
    assert shop.done == [(1.0, True), (-2.0, True), (4.0, True)]
    [letter] = shop.cluster.records(DLQ)
    assert names.text(letter.headers, names.GROUP) == "shop.charge.replay.r"
    again = call("replay", "shop:app", "charge", "--key", "ada", "--name", "r")
    assert again.out == "replay 'r' has been through this range already: another --name runs it again\n"
    assert len(shop.done) == 3
    assert shop.cluster.partitions("shop.charge.replay.r.retry") == [], "removed with its end"
    assert shop.cluster.committed("shop.charge") == {TopicPartition("orders", 0): live}, "the live group is not touched"


def test_a_replay_of_offsets_ends_where_it_should(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 1)
    for amount in range(6):
        shop.publish(float(amount))
    answer = call("replay", "shop:app", "charge", "--from-offset", "0:1", "--to-offset", "0:4", "--json")
    assert json.loads(answer.out)["done"] == 3
    assert [amount for amount, _ in shop.done] == [1.0, 2.0, 3.0]


def test_a_replay_of_a_topic_that_ends_in_markers_ends(shop: Shop, call: Call) -> None:
    shop.cluster.create_topic("orders", 1)
    shop.publish(1.0)
    shop.cluster.append_marker(TopicPartition("orders", 0))
    answer = call("replay", "shop:app", "charge", "--from-offset", "0:0", "--json")
    assert (answer.code, json.loads(answer.out)["done"]) == (0, 1)
