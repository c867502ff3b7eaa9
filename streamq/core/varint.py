"""Unsigned LEB128 numbers, as Kafka's own formats and protobuf write them: seven bits a byte, lowest first."""

from __future__ import annotations

_MOST_BYTES = 10  # 64 bits


def put(out: bytearray, number: int) -> None:
    """Append `number` (0 or more)."""
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def take(data: bytes, at: int) -> tuple[int, int]:
    """Read one number; returns it and the place behind it.

    Raises:
        ValueError: the bytes end within a number, or it has more than 64 bits.
    """
    number = 0
    for place in range(_MOST_BYTES):
        if at + place >= len(data):
            raise ValueError("the bytes end within a number")
        byte = data[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("a number of more than 64 bits")


def size(number: int) -> int:
    """How many bytes `put` writes."""
    return max(1, (number.bit_length() + 6) // 7)
