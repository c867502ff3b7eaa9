"""What librdkafka's group metadata says. It is opaque but for this (`rd_kafka_consumer_group_metadata_write`):
"CGMDv2:", the generation in 4 bytes of this machine's order, the group, the member, each with a zero behind it."""

from __future__ import annotations

import struct
from typing import Final

from streamq.model.errors import InvariantError

_MAGIC: Final = b"CGMDv2:"
_GENERATION: Final = struct.Struct("=i")


def is_member(metadata: object) -> bool:
    """Whether this is of a member, with a generation that a broker checks.

    Raises:
        InvariantError: another release of the client library writes it otherwise.
    """
    if not isinstance(metadata, bytes) or not metadata.startswith(_MAGIC):
        raise InvariantError(
            "the Kafka client gives group metadata of an unknown form: is it the release that is pinned?"
        )
    generation, rest = metadata[len(_MAGIC) :], metadata[len(_MAGIC) + _GENERATION.size :]
    _, member, *_ = rest.split(b"\0")
    return bool(member) and _GENERATION.unpack_from(generation)[0] >= 0
