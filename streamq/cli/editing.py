"""`--edit`: values of dead letters in the user's editor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamq.model.records import Record
    from streamq.ops.letter_selection import Place
    from streamq.tasks.topic import AnyTopic


def edited(topic: AnyTopic, letters: Iterator[Record]) -> dict[Place, bytes | None]:
    """Open each letter's value in `$VISUAL` or `$EDITOR`, one after the other. Those that were changed, as the topic's
    format writes them. Blocks until the editor is closed.

    Raises:
        ConfigError: a value that was emptied, or is not of the topic's type: nothing is asked for then.
    """
    from streamq.ops.letter_publishing import place_of

    found: dict[Place, bytes | None] = {}
    for letter in letters:
        text = _text(topic, letter.value)
        after = _in_editor(text)
        if after is not None and after.strip() != text.strip():
            found[place_of(letter)] = _encoded(topic, letter, after.strip())
    return found


def _text(topic: AnyTopic, value: bytes | None) -> str:
    import msgspec

    from streamq.ops.dead_letters import shown_value

    shown = shown_value(topic, value)
    if value is None or not isinstance(shown, str):
        return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n"
    return shown + "\n"


def _in_editor(text: str) -> str | None:
    """What the editor leaves; None if it saved nothing."""
    import click

    return click.edit(text, extension=".json")


def _encoded(topic: AnyTopic, letter: Record, text: str) -> bytes | None:
    from streamq.model.errors import ConfigError, SerdeError
    from streamq.ops.publishing import value_of

    place = f"{letter.partition}:{letter.offset}"
    if not text:
        raise ConfigError(f"the editor left nothing of dead letter {place}: nothing was asked for")
    try:
        return topic.value_serde.encode(value_of(topic, text.encode()), topic=topic.name)
    except SerdeError as error:
        raise ConfigError(
            f"the edited value of dead letter {place} is not usable, nothing was asked for: {error}"
        ) from error
