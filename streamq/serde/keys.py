"""Record keys. Partitions are chosen by a key's bytes, so these are pinned: what Java's serializers write."""

from __future__ import annotations

from streamq.serde.base import shown, undecodable, unencodable

_LONG_BYTES = 8


class StrKeySerde:
    """Text as UTF-8, as Java's StringSerializer. None stays None: a record without a key."""

    name = "str"

    def encode(self, value: object, *, topic: str) -> bytes | None:
        """The text as UTF-8.

        Raises:
            SerdeError: no text, or text with half a surrogate pair.
        """
        if value is None:
            return None
        if not isinstance(value, str):
            problem = f"key is {shown(value)} of type {type(value).__name__}, and the topic's keys are str"
            raise unencodable(topic, "key", problem, "pass str, or declare the topic with key=bytes or key=int")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise unencodable(topic, "key", f"key is {shown(value)}: {error.reason}", "pass valid text") from error

    def decode(self, data: bytes, *, topic: str) -> str:
        """The text of UTF-8.

        Raises:
            SerdeError: no UTF-8.
        """
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            reason = f"{error.reason} at byte {error.start}: declare the topic with key=bytes"
            raise undecodable(topic, "key", "UTF-8 text", reason, data) from error


class IntKeySerde:
    """Whole numbers as signed 64-bit big-endian, as Java's LongSerializer (not IntegerSerializer, which writes four
    bytes). None stays None: a record without a key."""

    name = "int"

    def encode(self, value: object, *, topic: str) -> bytes | None:
        """The number in eight bytes.

        Raises:
            SerdeError: no whole number, or one beyond 64 bits.
        """
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            problem = f"key is {shown(value)} of type {type(value).__name__}, and the topic's keys are int"
            raise unencodable(topic, "key", problem, "pass int, or declare the topic with key=str")
        try:
            return value.to_bytes(_LONG_BYTES, "big", signed=True)
        except OverflowError as error:
            problem = f"key is {shown(value)}, beyond 64 bits"
            raise unencodable(topic, "key", problem, "declare the topic with key=str") from error

    def decode(self, data: bytes, *, topic: str) -> int:
        """The number of eight bytes.

        Raises:
            SerdeError: not eight bytes.
        """
        if len(data) != _LONG_BYTES:
            reason = f"it has {len(data)} bytes, not {_LONG_BYTES}: declare the topic with key=bytes"
            raise undecodable(topic, "key", "a 64-bit number", reason, data)
        return int.from_bytes(data, "big", signed=True)
