"""What a serde is, what it needs of a Schema Registry, and how its errors read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from streamq.model.errors import SerdeError

T = TypeVar("T")

Part = Literal["key", "value"]

Annotation: TypeAlias = Any
"""What a user wrote as a type: a class, a union, a container of types. The type checker has no word for all of them."""

UserValue: TypeAlias = Any
"""A value of the type that a user declared: known when it runs, not before."""

Datum: TypeAlias = Any
"""Plain data: dicts, lists and scalars, as a payload holds them."""

MAX_SHOWN_CHARS = 120


@runtime_checkable
class Serde(Protocol[T]):
    """Turns values of one type into a record's bytes and back. Stateless for its callers, and used by many threads
    and by the event loop at once: it must not block (Avro's first meeting with a schema id is the one exception).
    """

    name: str
    """The format for people and metrics: "raw", "json", "avro", …"""

    def encode(self, value: T, *, topic: str) -> bytes | None:
        """The bytes of a value. None stands for a tombstone and comes only from the value None.

        Raises:
            SerdeError: the value does not fit; the message names the field and its value. Mend the caller.
            RetriableError: the Schema Registry did not answer; nothing is wrong with the value. Do it again.
        """
        ...

    def decode(self, data: bytes, *, topic: str) -> T:
        """The value of some bytes, whatever they are: nothing of them is ever executed, and neither depth nor claimed
        sizes make it use more memory than their length justifies.

        Raises:
            SerdeError: these bytes are no such value. `raw` carries them, `part` says whether they were key or value;
                the message says topic, reason and field. Repeating does not help: a dead letter at once.
            RetriableError: the Schema Registry did not answer; nothing is wrong with the bytes. Wait, do it again.
        """
        ...


def quick_decoder(serde: Serde[T], topic: str) -> Callable[[bytes], T]:
    """What decodes as the serde does, without a call of ours where the format has such a function. It may raise what it
    likes: `serde.decode` of the same bytes then says what is wrong with them."""
    quick: Callable[[bytes], T] | None = getattr(serde, "quick", None)
    return quick if quick is not None else partial(serde.decode, topic=topic)


class SchemaRegistry(Protocol):
    """What Avro needs of a Schema Registry. Both calls block for at most the time-out of the implementation and may
    come from any thread."""

    def schema_by_id(self, schema_id: int) -> str:
        """The Avro schema of an id as JSON text that stands for itself (what it refers to is inlined).

        Raises:
            SerdeError: there is no such schema, or it is not Avro.
            RetriableError: the registry did not answer or refused to: unknown whether there is one.
        """
        ...

    def register(self, subject: str, schema: str) -> int:
        """The id of a schema under a subject; registers it where it is not yet.

        Raises:
            SerdeError: the registry refuses the schema (not compatible with the subject's former ones, not valid).
            RetriableError: the registry did not answer or refused to answer this client.
        """
        ...


def shown(value: object) -> str:
    """A value for an error message: its repr, capped. Never raises, whatever the value's class does."""
    text = f"<{type(value).__name__}, whose repr raises>"
    with suppress(Exception):  # the repr is the user's code
        text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def reason_of(error: BaseException) -> str:
    """What an error of a library or of the user's type says, in one capped line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 4 * MAX_SHOWN_CHARS else text[: 4 * MAX_SHOWN_CHARS - 1] + "…"


def undecodable(topic: str, part: Part, expected: str, reason: str, raw: bytes) -> SerdeError:
    """The error of bytes that are not what they should be."""
    return SerdeError(f"topic {topic}: the {part} is not {expected}: {reason}", part=part, raw=raw)


def unencodable(topic: str, part: Part, problem: str, remedy: str) -> SerdeError:
    """The error of a value that its format cannot hold."""
    return SerdeError(f"topic {topic}: the {part} cannot be encoded: {problem}: {remedy}", part=part)


def no_tombstone(topic: str, part: Part, type_name: str) -> SerdeError:
    """The error of a None where the topic's type does not know it."""
    return unencodable(
        topic,
        part,
        f"{part} is None (a tombstone), and {type_name} does not allow it",
        f"declare the topic with `{type_name} | None`, or pass a {part}",
    )
