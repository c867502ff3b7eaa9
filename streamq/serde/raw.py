"""Bytes as they are, and a user's own serde held to the contract."""

from __future__ import annotations

from typing import Any

from streamq.model.errors import RetriableError, SerdeError
from streamq.serde.base import Part, Serde, UserValue, no_tombstone, reason_of, shown, undecodable, unencodable


class RawSerde:
    """The record's bytes, untouched. A value of None is a tombstone, where `none_allowed` says that the type has it."""

    name = "raw"

    def __init__(self, *, part: Part = "value", none_allowed: bool = False) -> None:
        self._part = part
        self._none_allowed = none_allowed

    def encode(self, value: bytes | None, *, topic: str) -> bytes | None:
        """The same bytes.

        Raises:
            SerdeError: it is no bytes.
        """
        if type(value) is bytes:
            return value
        if value is None:
            if self._none_allowed:
                return None
            raise no_tombstone(topic, self._part, "bytes")
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise unencodable(
            topic,
            self._part,
            f"{self._part} is {shown(value)}, no bytes",
            "encode it, or declare the topic with its type",
        )

    def decode(self, data: bytes, *, topic: str) -> bytes:
        """The same bytes. Raises nothing."""
        return data


class GuardedSerde:
    """A serde of the user's, whose mistakes come out as the contract has them: whatever it raises is a SerdeError."""

    def __init__(self, inner: Serde[Any], *, part: Part = "value") -> None:
        self.name = inner.name
        self._inner = inner
        self._part = part

    def encode(self, value: UserValue, *, topic: str) -> bytes | None:
        """What the user's serde makes of it; of a key that is None, nothing.

        Raises:
            SerdeError: it raised, or returned something that is neither bytes nor None for None.
            RetriableError: it raised that.
        """
        if value is None and self._part == "key":
            return None
        try:
            data = self._inner.encode(value, topic=topic)
        except (SerdeError, RetriableError):
            raise
        except Exception as error:
            remedy = f"mend the value or serde {self.name!r}"
            raise unencodable(topic, self._part, f"{shown(value)}: {self._says(error)}", remedy) from error
        if type(data) is bytes or (data is None and value is None):
            return data
        problem = f"serde {self.name!r} returned {shown(data)} for {shown(value)}"
        raise unencodable(topic, self._part, problem, "encode() must return bytes, or None for None")

    def decode(self, data: bytes, *, topic: str) -> UserValue:
        """What the user's serde makes of it.

        Raises:
            SerdeError: it raised.
            RetriableError: it raised that.
        """
        try:
            return self._inner.decode(data, topic=topic)
        except RetriableError:
            raise
        except SerdeError as error:
            if error.raw is not None and error.part == self._part:
                raise
            raise SerdeError(str(error), part=self._part, raw=data) from error
        except Exception as error:
            raise undecodable(topic, self._part, f"for serde {self.name!r}", self._says(error), data) from error

    @staticmethod
    def _says(error: Exception) -> str:
        return f"{type(error).__name__}: {reason_of(error)}"
