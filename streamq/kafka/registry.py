"""The Schema Registry over HTTP, by Confluent's own client, which is imported where a registry is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar
from urllib.parse import urlsplit, urlunsplit

from streamq.model.clock import Clock, SystemClock
from streamq.model.errors import ConfigError, RetriableError, SerdeError
from streamq.serde.avro_references import inline_references

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

R = TypeVar("R")

REQUEST_TIMEOUT_S: Final = 5.0
QUIET_S: Final = 5.0
"""How long nobody asks again after a registry did not answer. A worker asks for each record that waits for its schema,
and each question that is not answered takes the time-out of a thread, or of the event loop."""

_MAX_REFERENCES: Final = 100

_NOT_FOUND: Final = 404
_NO_RIGHT: Final = frozenset({401, 403})
_REFUSED: Final = frozenset({409, 422})


class ConfluentRegistry:
    """A `SchemaRegistry` (see `streamq.serde`). Takes its URL, or a mapping of the client's settings with `url` among
    them (`basic.auth.user.info`, `ssl.ca.location`, …); `mock://` is Confluent's registry in memory, for tests.

    Thread-safe. A call blocks for one request: at most the time-out (5 s unless set) for the connection and again for
    the answer; without retries inside, since the caller repeats. After a fork, the child makes its own client.

    Making one contacts nobody.

    Raises (made):
        ConfigError: no URL, an unknown setting, or the extra `avro` is not installed.
    """

    def __init__(self, settings: str | Mapping[str, object], *, clock: Clock | None = None) -> None:
        given = {"url": settings} if isinstance(settings, str) else dict(settings)
        url = given.get("url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://", "mock://")):
            raise ConfigError(
                f"schema registry url is {_masked(url)!r}: give one that begins with http:// or https://, "
                "for instance http://localhost:8081"
            )
        self._settings: dict[str, object] = {"timeout": REQUEST_TIMEOUT_S, "max.retries": 0, **given}
        self._clock = clock or SystemClock()
        self._quiet_until: float | None = None
        self.description = ",".join(_masked(part.strip()) for part in url.split(","))
        """Where it is, for messages: no user, no password."""
        self._confluent, self._http = self._modules()
        self._pid, self._client = os.getpid(), self._made_client()

    def schema_by_id(self, schema_id: int) -> str:
        """The Avro schema of an id, what it refers to inlined.

        Raises:
            SerdeError: there is no such schema, or it is not Avro.
            RetriableError: the registry did not answer or refused to.
        """
        schema = self._ask(f"schema id {schema_id}", lambda client: client.get_schema(schema_id))
        kind = schema.schema_type or "AVRO"
        if kind != "AVRO" or not schema.schema_str:
            raise SerdeError(f"schema id {schema_id} at {self.description} is {kind}: this topic's serde is Avro")
        if not schema.references:
            return str(schema.schema_str)
        try:
            return inline_references(schema.schema_str, self._referenced(schema))
        except ValueError as error:
            raise SerdeError(
                f"schema id {schema_id} at {self.description} refers to a broken schema: {error}"
            ) from error

    def register(self, subject: str, schema: str) -> int:
        """The id of a schema under a subject; registers it where it is not yet. A client that may only read gets the
        id of a schema that is there already.

        Raises:
            SerdeError: the registry refuses the schema; says why.
            RetriableError: the registry did not answer, or this client has no right.
        """
        wanted: Schema = self._confluent.Schema(schema, "AVRO")

        def register_or_look_up(client: SchemaRegistryClient) -> int:
            try:
                return client.register_schema(subject, wanted)
            except self._confluent.SchemaRegistryError as error:
                if error.http_status_code not in _NO_RIGHT:
                    raise
                return int(client.lookup_schema(subject, wanted).schema_id or 0)

        return self._ask(f"subject {subject}", register_or_look_up)

    def _referenced(self, schema: Schema) -> list[str]:
        """The texts of all schemas that one refers to, through any number of steps."""
        texts: dict[tuple[str, int], str] = {}
        todo = list(schema.references or ())
        while todo:
            reference = todo.pop()
            at = (str(reference.subject), int(reference.version or 0))
            if at in texts:
                continue
            if len(texts) >= _MAX_REFERENCES:
                raise ValueError(f"more than {_MAX_REFERENCES} references")
            found = self._version(*at)
            texts[at] = str(found.schema_str)
            todo.extend(found.references or ())
        return list(texts.values())

    def _version(self, subject: str, version: int) -> Schema:
        return self._ask(
            f"subject {subject} version {version}", lambda client: client.get_version(subject, version).schema
        )

    def _ask(self, what: str, question: Callable[[SchemaRegistryClient], R]) -> R:
        if self._quiet_until is not None and self._clock.monotonic() < self._quiet_until:
            raise RetriableError(f"schema registry {self.description} did not answer just now: {what} waits")
        try:
            answer = question(self._client_of_this_process())
        except self._confluent.SchemaRegistryError as error:
            self._refused(what, error)
        except (self._http.HTTPError, self._http.InvalidURL, OSError, ValueError, TypeError) as error:
            # ValueError and TypeError: an answer that is no JSON, or not the registry's, as proxies give.
            self._silent(what, f"{type(error).__name__}: {error}", error)
        self._quiet_until = None
        return answer

    def _refused(self, what: str, error: SchemaRegistryError) -> NoReturn:
        """The registry's own refusals are about the schema; all else is about the way to it, which can be mended."""
        status, code = error.http_status_code, error.error_code or 0
        reason = f"{error.error_message} (HTTP {status}, code {code})"
        if status in _REFUSED:
            raise SerdeError(
                f"{what}: schema registry {self.description} refuses the schema: {reason}: "
                "make it compatible with the subject's former versions"
            ) from error
        if status == _NOT_FOUND and code // 100 == _NOT_FOUND:
            raise SerdeError(f"{what}: schema registry {self.description} does not have it: {reason}") from error
        self._silent(what, reason, error)

    def _silent(self, what: str, reason: str, error: Exception) -> NoReturn:
        self._quiet_until = self._clock.monotonic() + QUIET_S
        raise RetriableError(
            f"schema registry {self.description} gave no answer on {what}: {reason}: "
            "check its address, that it runs, and this client's rights"
        ) from error

    def _client_of_this_process(self) -> SchemaRegistryClient:
        if self._pid != os.getpid():
            self._pid, self._client = os.getpid(), self._made_client()
        return self._client

    def _made_client(self) -> SchemaRegistryClient:
        try:
            client: SchemaRegistryClient = self._confluent.SchemaRegistryClient.new_client(dict(self._settings))
        except (ValueError, TypeError, OSError) as error:
            raise ConfigError(f"schema registry {self.description}: {error}: mend its settings") from error
        return client

    @staticmethod
    def _modules() -> tuple[ModuleType, ModuleType]:
        try:
            http = import_module("httpx2")  # first: without it, Confluent's client would look for its predecessor
            return import_module("confluent_kafka.schema_registry"), http
        except ImportError as error:
            raise ConfigError(
                f"a schema registry needs {error.name}, which is not installed: pip install 'streamq[avro]'"
            ) from error


def _masked(url: object) -> str:
    """A URL without user and password."""
    if not isinstance(url, str):
        return str(url)
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
