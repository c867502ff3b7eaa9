"""The filter of `--where`: a small language over a dead letter, read by a parser of its own. Nothing is executed.

    reason == "rejected" and value.amount > 100
    key in ("ada", "bob") or not (attempts >= 5)
    at >= 2026-11-20T08:00Z and "timed out" in message

Names are those of `FIELDS`, and `value` with what stands in it: `value.amount`, `value.lines[0].price`,
`value["first-name"]`. What is not there is null. Literals are text in either kind of quotes, numbers, `true`, `false`,
`null` and times with their zone. Comparisons are `== != < <= > >= in`; `and`, `or`, `not` and parentheses join them.
Things of different kinds are not equal and have no order; a comparison whose kinds can never fit is refused where it is
read. A field of the value alone (`value.urgent`) holds if it is `true`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from streamq.model.records import Record
from streamq.ops.dead_letters import DeadLetter, shown_value
from streamq.ops.where_values import Kind, Moment, compare, contains, moment_of
from streamq.ops.where_words import DEPTH, Word, refuse, unquoted, words
from streamq.tasks.topic import AnyTopic


class Subject(NamedTuple):
    """What a filter looks at. `value` is asked for only where the filter speaks of it."""

    letter: DeadLetter
    value: Callable[[], object]


Look = Callable[[Subject], object]
Test = Callable[[Subject], bool]


class Operand(NamedTuple):
    """One side of a comparison."""

    kind: Kind
    look: Look
    word: Word


FIELDS: Final[dict[str, tuple[Kind, Callable[[DeadLetter], object]]]] = {
    "reason": ("text", lambda letter: letter.reason),
    "error_type": ("text", lambda letter: letter.error_type),
    "message": ("text", lambda letter: letter.message),
    "key": ("text", lambda letter: letter.key),
    "state": ("text", lambda letter: letter.state),
    "partition": ("number", lambda letter: letter.partition),
    "offset": ("number", lambda letter: letter.offset),
    "attempts": ("number", lambda letter: letter.attempts),
    "at": ("time", lambda letter: None if letter.dead_at_ms is None else Moment(letter.dead_at_ms)),
}
_CONSTANTS: Final[dict[str, tuple[Kind, object]]] = {
    "true": ("boolean", True),
    "false": ("boolean", False),
    "null": ("null", None),
}
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")
_HINTS: Final[dict[Kind, str]] = {
    "text": 'text in quotes, "so"',
    "number": "a number",
    "time": "a time with its zone, 2026-11-20T08:00Z",
    "boolean": "true or false",
}
_A_VALUE: Final = f"a name ({', '.join(FIELDS)}, value), text in quotes, a number or a time"


def filter_of(text: str, topic: AnyTopic) -> Callable[[DeadLetter, Record], bool]:
    """What tells whether a dead letter of a processor on `topic` fits a filter.

    Raises:
        ConfigError: the filter cannot be read; the message says where and what was expected there.
    """
    test = parse(text)

    def fits(letter: DeadLetter, record: Record) -> bool:
        return test(Subject(letter, lambda: shown_value(topic, record.value)))

    return fits


def parse(text: str) -> Test:
    """Read a filter.

    Raises:
        ConfigError: it cannot be read; the message says where and what was expected there.
    """
    return _Parser(words(text)).whole()


class _Parser:
    """One token ahead, a method for each rule of the grammar."""

    def __init__(self, found: list[Word]) -> None:
        self._words = found
        self._at = 0
        self._depth = 0

    def whole(self) -> Test:
        test = self._either()
        if self._next.kind != "end":
            raise refuse(self._next, "`and`, `or` or the end")
        return test

    @property
    def _next(self) -> Word:
        return self._words[self._at]

    def _take(self) -> Word:
        word = self._words[self._at]
        self._at += 1
        return word

    def _takes(self, text: str) -> bool:
        """Whether this sign or word comes next; it is taken then."""
        if self._next.kind in ("sign", "name") and self._next.text == text:
            self._at += 1
            return True
        return False

    def _must(self, text: str, expected: str) -> None:
        if not self._takes(text):
            raise refuse(self._next, expected)

    # or, and, not, parentheses

    def _either(self) -> Test:
        tests = [self._all()]
        while self._takes("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda subject: any(test(subject) for test in tests)

    def _all(self) -> Test:
        tests = [self._negated()]
        while self._takes("and"):
            tests.append(self._negated())
        return tests[0] if len(tests) == 1 else lambda subject: all(test(subject) for test in tests)

    def _negated(self) -> Test:
        self._depth += 1
        if self._depth > DEPTH:
            raise refuse(self._next, f"at most {DEPTH} parentheses and `not` within each other")
        try:
            if self._takes("not"):
                test = self._negated()
                return lambda subject: not test(subject)
            if self._takes("("):
                inner = self._either()
                self._must(")", "`and`, `or` or `)`")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    # Comparisons

    def _comparison(self) -> Test:
        left = self._operand()
        if self._takes("in"):
            return self._membership(left)
        if self._next.text == "not" and self._next.kind == "name":
            self._take()
            self._must("in", "`in`")
            test = self._membership(left)
            return lambda subject: not test(subject)
        if self._next.kind == "sign" and self._next.text in _COMPARISONS:
            return self._ordered(left, self._take())
        if left.kind not in ("any", "boolean"):
            raise refuse(self._next, f"a comparison with {left.word.text}: {' '.join(_COMPARISONS)} in")
        return lambda subject: left.look(subject) is True

    def _ordered(self, left: Operand, sign: Word) -> Test:
        right = self._operand()
        _check_kinds(left, right)
        if sign.text not in ("==", "!="):
            for side in (left, right):
                if side.kind in ("boolean", "null"):
                    raise refuse(side.word, f"something that has an order before or behind `{sign.text}`")
        return lambda subject: compare(sign.text, left.look(subject), right.look(subject))

    def _membership(self, left: Operand) -> Test:
        if not self._takes("("):
            right = self._operand()
            if right.kind not in ("any", "text"):
                raise refuse(right.word, "a list in parentheses, a text field or a field of the value")
            return lambda subject: contains(right.look(subject), left.look(subject))
        choices = [self._choice(left)]
        while self._takes(","):
            if self._next.text == ")":
                break
            choices.append(self._choice(left))
        self._must(")", "`,` or `)`")
        return lambda subject: any(compare("==", left.look(subject), one.look(subject)) for one in choices)

    def _choice(self, left: Operand) -> Operand:
        choice = self._operand()
        _check_kinds(left, choice)
        return choice

    # Operands

    def _operand(self) -> Operand:
        word = self._take()
        if word.kind == "text":
            return _literal("text", unquoted(word), word)
        if word.kind == "time":
            return _literal("time", _moment(word), word)
        if word.kind == "number":
            return _literal("number", _number(word), word)
        if word.kind == "name" and word.text in _CONSTANTS:
            return _literal(*_CONSTANTS[word.text], word)
        if word.kind == "name" and word.text == "value":
            return self._path(word)
        if word.kind == "name" and word.text in FIELDS:
            kind, read = FIELDS[word.text]
            return Operand(kind, lambda subject: read(subject.letter), word)
        raise refuse(word, _expected(word))

    def _path(self, word: Word) -> Operand:
        """`value`, and steps into it."""
        steps: list[str | int] = []
        while True:
            if self._takes("."):
                if self._next.kind != "name":
                    raise refuse(self._next, "a field's name")
                steps.append(self._take().text)
            elif self._takes("["):
                steps.append(self._index())
                self._must("]", "`]`")
            else:
                return Operand("any", lambda subject: _walk(subject.value(), steps), word)

    def _index(self) -> str | int:
        word = self._take()
        if word.kind == "text":
            return unquoted(word)
        if word.kind == "number" and word.text.isdigit():
            return int(word.text)
        raise refuse(word, "a field's name in quotes, or a place in a list from 0 on")


def _literal(kind: Kind, value: object, word: Word) -> Operand:
    return Operand(kind, lambda subject: value, word)


def _moment(word: Word) -> Moment:
    try:
        found = moment_of(datetime.fromisoformat(word.text))
    except ValueError:
        found = None
    if found is None:
        raise refuse(word, _HINTS["time"])
    return found


def _number(word: Word) -> int | float:
    whole = word.text.removeprefix("-").isdigit()
    return int(word.text) if whole else float(word.text)


def _expected(word: Word) -> str:
    if word.kind == "name" and word.text not in ("and", "or", "not", "in"):
        return f'{_A_VALUE}; a field of the value is value.{word.text}, text is "{word.text}"'
    return _A_VALUE


def _check_kinds(left: Operand, right: Operand) -> None:
    """Refuse what can never be true."""
    if "any" in (left.kind, right.kind) or "null" in (left.kind, right.kind) or left.kind == right.kind:
        return
    raise refuse(right.word, f"{_HINTS[left.kind]}, since {left.word.text} is that")


def _walk(value: object, steps: list[str | int]) -> object:
    """What stands there; None where nothing does."""
    for step in steps:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value
