"""A processor: a handler on a topic, with its group and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from streamq.config import ProcessorConfig
from streamq.model import names
from streamq.model.errors import ConfigError
from streamq.tasks.signature import Handler, Shape, name_of, place_of, shape_of
from streamq.tasks.topic import AnyTopic


@dataclass(frozen=True, slots=True, eq=False)
class Processor:
    """What is registered on a topic. `group` is its consumer group, `<app>.<name>`; `place` is where its handler is
    written, for messages."""

    name: str
    group: str
    topic: AnyTopic
    handler: Handler
    config: ProcessorConfig
    dead_letter_topic: str
    retry_topic: str
    shape: Shape
    place: str

    @property
    def has_journal(self) -> bool:
        """Whether its group has a retry topic. Under `ordering="partition"` nothing is parked: the only lane is the
        partition itself."""
        return self.config.ordering != "partition"


def make_processor(app: str, topic: AnyTopic, handler: object, name: str | None, config: ProcessorConfig) -> Processor:
    """Check a handler and give it its names.

    Raises:
        ConfigError: it has no name, a name that is not usable, or a wrong signature.
    """
    wanted = name if name is not None else name_of(handler) if callable(handler) else None
    if wanted is None:
        raise ConfigError(f"handler {handler!r} has no name: pass one, `@app.processor({topic.name}, name=…)`")
    if name is None and not wanted.isidentifier():
        raise ConfigError(
            f"handler {wanted!r} has no name of its own: pass one, `@app.processor({topic.name}, name=…)`"
        )
    names.check_name("processor", wanted)
    shape = shape_of(handler, wanted, topic)
    if not callable(handler):
        raise ConfigError(f"handler of processor {wanted!r} is {handler!r}: use a function")
    group = names.group_name(app, wanted)
    dead_letters, retry = names.dead_letter_topic(group), names.retry_topic(group)
    return Processor(wanted, group, topic, handler, config, dead_letters, retry, shape, place_of(handler))
