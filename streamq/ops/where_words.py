"""The words of a filter: what `--where` is cut into, each with its place, and how an error names one."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from streamq.model.errors import ConfigError

DEPTH: Final = 50
"""So many parentheses and `not` within each other are read."""
LONGEST: Final = 10_000
"""Characters of a filter."""
_SHOWN: Final = 40

WordKind = Literal["text", "time", "number", "name", "sign", "end"]


class Word(NamedTuple):
    """One word. `at` counts characters from 0."""

    kind: WordKind
    text: str
    at: int


_PATTERN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}[0-9A-Za-z:.+-]*)
    |(?P<number>-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,5})?(?![0-9A-Za-z_.]))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>==|!=|<=|>=|[<>()\[\],.])
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final[dict[str, WordKind]] = {
    "text": "text",
    "time": "time",
    "number": "number",
    "name": "name",
    "sign": "sign",
}
_ESCAPED: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


def refuse(word: Word, expected: str) -> ConfigError:
    """The error that names a place in the filter, and what was expected there."""
    found = "the end" if word.kind == "end" else repr(word.text[:_SHOWN])
    return ConfigError(f"--where, character {word.at + 1}: expected {expected}, found {found}")


def words(text: str) -> list[Word]:
    """Cut a filter into words; the last one is its end.

    Raises:
        ConfigError: characters that begin no word.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"--where has {len(text):,} characters: at most {LONGEST:,} are read")
    found: list[Word] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        if match is None:
            raise refuse(Word("sign", text[at:], at), _expected(text[at]))
        if match.lastgroup in _KINDS:
            found.append(Word(_KINDS[match.lastgroup], match[0], at))
        at = match.end()
    return [*found, Word("end", "", len(text))]


def _expected(character: str) -> str:
    if character in "\"'":
        return f"text with a closing {character}"
    if character in "=!&|":
        return "`==`, `!=`, `and`, `or` or `not`"
    if character.isdigit() or character == "-":
        return "a number, for instance 12, -1.5 or 2e3"
    return "a name, text in quotes, a number, a time or a comparison"


def unquoted(word: Word) -> str:
    """What a text in quotes says.

    Raises:
        ConfigError: a backslash before what it does not go with.
    """

    def character(match: re.Match[str]) -> str:
        code = match[1]
        known = _ESCAPES.get(code) if len(code) == 1 else chr(int(code[1:], 16))
        if known is None or "\ud800" <= known <= "\udfff":
            raise refuse(
                Word("text", match[0], word.at + 1 + match.start()),
                r"one of \n \t \r \\ \" \' or the \uXXXX of a character",
            )
        return known

    return _ESCAPED.sub(character, word.text[1:-1])
