"""Names derived from an app, a processor and a topic. They leave the process: a change breaks what users stored."""

from __future__ import annotations

import re
from typing import Final

from streamq.model.errors import ConfigError

LEGAL: Final = "[A-Za-z0-9_-]+"
"""What an app or a processor may be called, as a regular expression."""
_LEGAL = re.compile(LEGAL)
_LEGAL_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
# Kafka limits a topic name to 249 characters; ".retry" and ".dedup" are the longest suffixes.
_GROUP_CHARS = 249 - len(".retry")


def check_name(kind: str, name: str) -> str:
    """Return `name` if an app or processor may be called so.

    Raises:
        ConfigError: the name is empty or holds other characters than letters, digits, `_` and `-`.
    """
    if not _LEGAL.fullmatch(name):
        raise ConfigError(f"{kind} name {name!r} is not usable: use letters, digits, '_' and '-', at least one of them")
    return name


def check_topic_name(name: str) -> str:
    """Return `name` if Kafka takes it as a topic's.

    Raises:
        ConfigError: it does not.
    """
    if not _LEGAL_TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ConfigError(
            f"topic name {name!r} is not usable: Kafka takes 1 to 249 letters, digits, '.', '_' and '-', "
            "but neither '.' nor '..'"
        )
    return name


def group_name(app: str, processor: str) -> str:
    """`<app>.<processor>`: the consumer group of a processor.

    Raises:
        ConfigError: too long for the topics that derive from it.
    """
    group = f"{app}.{processor}"
    if len(group) > _GROUP_CHARS:
        raise ConfigError(f"group name {group!r} has {len(group)} characters: at most {_GROUP_CHARS} fit")
    return group


def replay_group_name(group: str, replay: str) -> str:
    """`<group>.replay.<replay>`: the consumer group of a replay.

    Raises:
        ConfigError: too long for the retry topic that derives from it.
    """
    name = f"{group}.replay.{replay}"
    if len(name) > _GROUP_CHARS:
        raise ConfigError(
            f"group name {name!r} has {len(name)} characters: at most {_GROUP_CHARS} fit, so use a shorter --name"
        )
    return name


def dead_letter_topic(group: str) -> str:
    """`<group>.dlq`."""
    return f"{group}.dlq"


def retry_topic(group: str) -> str:
    """`<group>.retry`."""
    return f"{group}.retry"
