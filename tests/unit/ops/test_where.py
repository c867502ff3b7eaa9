"""The filter of `--where`: what it selects, and what is said of one that cannot be read."""

from __future__ import annotations

import builtins
from datetime import UTC, datetime

import pytest

from streamq.model.errors import ConfigError
from streamq.ops.dead_letters import DeadLetter
from streamq.ops.where import Subject, parse

AT_MS = int(datetime(2026, 11, 20, 8, 30, tzinfo=UTC).timestamp() * 1000)
LETTER = DeadLetter(3, 17, "ada", "rejected", "ValueError", "it timed out", 5, "orders", 3, 7, AT_MS, "shop.charge")
VALUE = {
    "amount": 150,
    "note": None,
    "urgent": True,
    "paid": False,
    "name": "Ada",
    "lines": [{"price": 1.5}, {"price": 20}],
    "tags": ["new", 7, None],
    "first-name": "A",
    "created": "2026-11-20T09:00:00+01:00",
}


def holds(text: str, letter: DeadLetter = LETTER, value: object = VALUE) -> bool:
    return parse(text)(Subject(letter, lambda: value))


@pytest.mark.parametrize(
    "text",
    [
        'reason == "rejected"',
        "reason == 'rejected' and value.amount > 100",
        'reason != "attempts"',
        'error_type == "ValueError" and message == "it timed out"',
        '"timed" in message',
        'key in ("ada", "bob")',
        'key in ("ada",)',
        'key not in ("bob", null)',
        "partition == 3 and offset >= 17 and attempts <= 5",
        'state == "open"',
        "at >= 2026-11-20T08:00Z and at < 2026-11-20T09:00Z",
        "at == 2026-11-20T09:30:00.000+01:00",
        "not at > 2026-11-20T10:00+01:00",
        "attempts == 4 or attempts == 5",
        "attempts == 5 or attempts == 4 and attempts == 3",
        "not (attempts == 5 and attempts == 4)",
        "not not value.urgent",
        "value.urgent and not value.paid",
        "value.urgent == true and value.paid == false",
        "value.note == null and value.missing == null and value.missing.deeper[3] == null",
        "value.missing != 3",
        "value.lines[1].price == 20 and value.lines[0]['price'] == 1.5",
        "value.lines[2].price == null",
        'value["first-name"] == "A"',
        '"new" in value.tags and 7 in value.tags and null in value.tags',
        '"d" in value.name',
        "150 <= value.amount",
        "value.amount == 1.5e2 and value.amount > -1",
        "value.created == 2026-11-20T08:00Z and 2026-11-20T07:59Z < value.created",
        'value.name == "\\u0041da" and "it\\tx" != message',
        "true",
        "  attempts==5\n and(true)",
    ],
)
def test_what_fits(text: str) -> None:
    assert holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize(
    "text",
    [
        'value.amount == "150"',
        "value.amount == true",
        "value.urgent == 1",
        "value.urgent > 0",
        "value.name > 5",
        "value.note < 5",
        "value.missing <= 5",
        "value.lines == value.lines",
        "value.lines > 1",
        "value.amount",
        "value.name",
        "value.missing",
        '"new" in value.missing',
        "7 in value.name",
        "1 in value.amount",
        "value.name == 2026-11-20T08:00Z",
        "false",
    ],
)
def test_what_is_of_another_kind_or_not_there_does_not_fit_and_is_no_error(text: str) -> None:
    assert not holds(text)


def test_what_a_letter_does_not_tell_is_null() -> None:
    bare = DeadLetter(0, 0, None, "unknown", "", "", None, "", None, None, None, "")
    assert holds("key == null and attempts == null and at == null and value == null", bare, None)
    assert not holds("attempts > 0", bare, None)
    assert not holds("at < 2026-11-20T08:00Z", bare, None)
    assert holds('value == "plain"', bare, "plain"), "a value that is no JSON is its text"


def test_the_value_is_decoded_only_where_the_filter_speaks_of_it() -> None:
    def never() -> object:
        raise AssertionError("decoded")

    assert parse("attempts == 5 or value.amount > 3")(Subject(LETTER, never))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: expected a name (reason, error_type, message, key, state, partition, offset, attempts, at,"),
        ("attempts >", "character 11: expected a name (reason"),
        ("attempts > 3 and", "character 17: expected a name (reason"),
        ("attempts = 3", "character 10: expected `==`, `!=`, `and`, `or` or `not`, found '= 3'"),
        ("attempts == 3 && true", "character 15: expected `==`, `!=`, `and`, `or` or `not`, found '&& true'"),
        ("amount > 3", "a field of the value is value.amount, text is \"amount\", found 'amount'"),
        ("reason == rejected", "character 11: expected a name"),
        ('attempts > "3"', "character 12: expected a number, since attempts is that, found '\"3\"'"),
        ("at > 5", "character 6: expected a time with its zone, 2026-11-20T08:00Z, since at is that, found '5'"),
        ("at > 2026-11-20", "character 6: expected a time with its zone, 2026-11-20T08:00Z, found '2026-11-20'"),
        ("at > 2026-11-20T08:00", "character 6: expected a time with its zone"),
        ("at > 2026-13-40T08:00Z", "character 6: expected a time with its zone"),
        ('key in ("a", 5)', "character 14: expected text in quotes"),
        ("key in 5", "character 8: expected a list in parentheses"),
        ('key in ("a"', "character 12: expected `,` or `)`, found the end"),
        ('key not "a"', "character 9: expected `in`"),
        ("reason", "character 7: expected a comparison with reason: == != < <= > >= in, found the end"),
        ("null", "character 5: expected a comparison with null"),
        ("value.amount > null", "character 16: expected something that has an order before or behind `>`"),
        ("true > value.amount", "character 1: expected something that has an order"),
        ("(attempts > 3", "character 14: expected `and`, `or` or `)`, found the end"),
        ("attempts > 3)", "character 13: expected `and`, `or` or the end, found ')'"),
        ("1 < attempts < 3", "character 14: expected `and`, `or` or the end, found '<'"),
        ("value.", "character 7: expected a field's name, found the end"),
        ("value[-1] == 3", "character 7: expected a field's name in quotes, or a place in a list from 0 on"),
        ("value[1 == 3", "character 9: expected `]`"),
        ('key == "ada', "character 8: expected text with a closing \", found '\"ada'"),
        ('key == "a\\q"', r"character 10: expected one of \n \t"),
        ('key == "\\ud800"', "character 9: expected one of"),
        ("attempts > 3x", "character 12: expected a number, for instance 12"),
        ("attempts > " + "9" * 400, "character 12: expected a number"),
        ("#", "character 1: expected a name, text in quotes, a number, a time or a comparison, found '#'"),
        ("(" * 60 + "true" + ")" * 60, "expected at most 50 parentheses and `not` within each other"),
        ("not " * 3_000, "--where has 12,000 characters: at most 10,000 are read"),
        ("not " * 2_000 + "true", "expected at most 50 parentheses and `not` within each other"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse(text)
    assert message in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        '__import__("os").system("true")',
        'value.__class__.__bases__[0] == null and exec("1")',
        "(lambda: 1)()",
        "[1 for x in value]",
        'f"{1}" == key',
        "value.amount ** 10 == 1",
    ],
)
def test_python_is_not_its_language(text: str) -> None:
    with pytest.raises(ConfigError, match="--where, character "):
        parse(text)


def test_nothing_is_executed_and_no_attribute_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object, **options: object) -> object:
        raise AssertionError("executed")

    for name in ("eval", "exec", "compile", "__import__"):
        monkeypatch.setattr(builtins, name, never)
    found = [holds("value.__class__ == null and value.amount.real == null and value.name.upper == null")]
    monkeypatch.undo()
    assert found == [True], "only keys of JSON objects are looked up"
