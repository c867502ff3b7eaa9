"""Publishing from a file: one JSON document a line, each checked against the topic's type before it is sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from streamq.model.errors import ConfigError, PublishError, RecordTooLargeError, SerdeError, TopicConfigError
from streamq.model.ports import AdminPort
from streamq.ops.asking import TIMEOUT_S
from streamq.serde.raw import RawSerde
from streamq.tasks.publication import Publication
from streamq.tasks.topic import AnyTopic

IN_FLIGHT = 10_000
CONFIRM_S = 60.0
T = TypeVar("T")


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a line holds: the value as JSON (null is a tombstone, where the topic's type has room for one), and what
    goes with it."""

    value: msgspec.Raw
    key: object = None
    headers: dict[str, str] = {}
    partition: int | None = None


class Refused(msgspec.Struct, frozen=True):
    """A line that was not published, and why."""

    line: int
    error: str


class Summary(msgspec.Struct, frozen=True):
    """What came of a file. `stopped_at`: the line at which it stopped; nothing from there on was published."""

    published: int
    refused: tuple[Refused, ...]
    stopped_at: int | None = None


class Publishes(Protocol):
    """What an app offers here."""

    def __call__(
        self,
        topic: AnyTopic,
        value: object,
        *,
        key: object = None,
        headers: Mapping[str, str] | None = None,
        partition: int | None = None,
    ) -> Publication: ...


def value_of(topic: AnyTopic, text: bytes) -> object:
    """A value of the topic's type out of JSON (or the bytes themselves, where the topic holds raw bytes).

    Raises:
        SerdeError: it is not of that type; the message names the field.
    """
    if _holds_bytes(topic):
        return text
    try:
        return msgspec.json.decode(text, type=topic.value_type)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise SerdeError(f"value is not a {_name(topic.value_type)} of topic {topic.name}: {error}") from error
    except (TypeError, RecursionError):
        return topic.value_serde.decode(text, topic=topic.name)  # a type that msgspec does not know: a pydantic model


def value_of_line(topic: AnyTopic, text: bytes) -> object:
    """A value out of what a line of JSON holds. Where the topic holds raw bytes, a JSON text stands for its UTF-8, null
    for a tombstone, and other JSON for itself.

    Raises:
        SerdeError: it is not of that type; the message names the field.
    """
    if not _holds_bytes(topic):
        return value_of(topic, text)
    try:
        found: object = msgspec.json.decode(text)
    except RecursionError:
        return text
    match found:
        case None:
            return None
        case str():
            return found.encode()
        case _:
            return text


def _holds_bytes(topic: AnyTopic) -> bool:
    serde: object = topic.value_serde
    return isinstance(serde, RawSerde)


def _name(kind: object) -> str:
    return getattr(kind, "__name__", str(kind))


def key_of(topic: AnyTopic, key: object) -> object:
    """A key of the topic's type out of what a line of JSON holds. What does not fit is left to the topic's format,
    which refuses it.

    Raises:
        ConfigError: it is no number where the topic's keys are.
    """
    kind = topic.key_type
    if kind is int and isinstance(key, str):
        try:
            return int(key)
        except ValueError:
            raise ConfigError(f"key is {key!r}: topic {topic.name} has whole numbers as keys") from None
    if kind is bytes and isinstance(key, str):
        return key.encode()
    return str(key) if kind is str and type(key) is int else key


def key_from_text(topic: AnyTopic, text: str | None) -> object:
    """A key of the topic's type out of a command's argument: the text itself where keys are text, bytes or numbers,
    else JSON.

    Raises:
        ConfigError: it is no number where the topic's keys are.
    """
    if text is None or topic.key_type in {str, bytes, int}:
        return key_of(topic, text)
    try:
        found: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text  # an Avro schema may be plain text, too
    return found


def key_bytes(topic: AnyTopic, text: str | None) -> bytes | None:
    """The bytes that a key has in its topic, out of a command's argument.

    Raises:
        ConfigError, SerdeError: no such key can be there.
    """
    return None if text is None else topic.key_serde.encode(key_from_text(topic, text), topic=topic.name)


def check_reachable(admin: AdminPort, topic: AnyTopic) -> None:
    """See that the brokers answer before anything is published: publishing itself is patient with them, and a wrong
    address would be told only after the app's `publish_timeout_s`. Blocks.

    Raises:
        BrokerError: they do not answer; the message names them.
    """
    admin.describe_topics([topic.name], TIMEOUT_S)


def publish_lines(
    publish: Publishes, topic: AnyTopic, lines: Iterable[bytes], progress: Callable[[int], None] | None = None
) -> Summary:
    """Publish a file's lines. One that cannot be published is noted and the others go on; when the brokers take no
    more, or the topic is missing and may not be created, it stops. Blocks until each is confirmed or has failed."""
    refused: list[Refused] = []
    waiting: deque[tuple[int, Publication]] = deque()
    published, stopped_at = 0, None
    for number, text in enumerate(lines, 1):
        if progress is not None:
            progress(len(text))
        if not text.strip():
            continue
        try:
            waiting.append((number, _publish(publish, topic, text)))
        except (SerdeError, ConfigError, PublishError) as error:
            refused.append(Refused(number, str(error)))
            if _concerns_all(error):
                stopped_at = number
                break
        if len(waiting) >= IN_FLIGHT:
            published += _confirm(waiting.popleft(), refused)
    while waiting:
        published += _confirm(waiting.popleft(), refused)
    return Summary(published, tuple(sorted(refused, key=lambda one: one.line)), stopped_at)


def _concerns_all(error: SerdeError | ConfigError | PublishError) -> bool:
    """Whether the next line would fare no better: there is no topic, or the brokers made no room within the app's
    time-out, and each line to come would wait as long in vain."""
    return isinstance(error, TopicConfigError) or (
        isinstance(error, PublishError) and not isinstance(error.__cause__, RecordTooLargeError)
    )


def _publish(publish: Publishes, topic: AnyTopic, text: bytes) -> Publication:
    try:
        line = msgspec.json.decode(text, type=Line)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        raise SerdeError(
            f'line is not usable: {error}; use {{"key": …, "value": …, "headers": {{…}}, "partition": …}}'
        ) from error
    value = value_of_line(topic, bytes(line.value))
    return publish(topic, value, key=key_of(topic, line.key), headers=line.headers, partition=line.partition)


def _confirm(waiting: tuple[int, Publication], refused: list[Refused]) -> int:
    number, publication = waiting
    try:
        publication.result(CONFIRM_S)
    except PublishError as error:
        refused.append(Refused(number, str(error)))
        return 0
    return 1
