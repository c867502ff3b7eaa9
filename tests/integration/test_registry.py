"""The registry's adapter over HTTP, against a server of this process that speaks the Schema Registry's API."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import msgspec
import pytest

from streamq.kafka.registry import ConfluentRegistry
from streamq.model.errors import RetriableError, SerdeError
from streamq.serde import value_serde


class Order(msgspec.Struct):
    order_id: str
    amount: float


class SchemaServer(ThreadingHTTPServer):
    """Ids, subjects and versions in memory, over the paths and with the error codes of Confluent's API reference."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.schemas: list[dict[str, object]] = []
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.status = 200
        self.read_only = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def register(self, subject: str, body: dict[str, object]) -> int:
        known: dict[str, object] = {key: value for key, value in body.items() if key in {"schema", "references"}}
        if known not in self.schemas:
            self.schemas.append(known)
        schema_id = self.schemas.index(known) + 1
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id


class Handler(BaseHTTPRequestHandler):
    @property
    def registry(self) -> SchemaServer:
        return cast(SchemaServer, self.server)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the tests say what went wrong."""

    def do_GET(self) -> None:
        self.registry.requests.append(self.path)
        if self.registry.status != 200:
            self.answer(self.registry.status, {"error_code": self.registry.status * 100, "message": "made up"})
        elif found := re.match(r"/schemas/ids/(\d+)", self.path):
            self.by_id(int(found[1]))
        elif found := re.match(r"/subjects/([^/]+)/versions/(\d+)", self.path):
            schema_id = self.registry.subjects[found[1]][int(found[2]) - 1]
            schema = self.registry.schemas[schema_id - 1]
            self.answer(200, {"subject": found[1], "version": int(found[2]), "id": schema_id, **schema})
        else:
            self.answer(404, {"error_code": 404, "message": "HTTP 404 Not Found"})

    def by_id(self, schema_id: int) -> None:
        if 0 < schema_id <= len(self.registry.schemas):
            self.answer(200, self.registry.schemas[schema_id - 1])
        else:
            self.answer(404, {"error_code": 40403, "message": f"Schema {schema_id} not found"})

    def do_POST(self) -> None:
        self.registry.requests.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = re.match(r"/subjects/([^/?]+)(/versions)?", self.path)
        assert found is not None
        if found[2] and self.registry.read_only:
            self.answer(403, {"error_code": 40301, "message": "read only"})
        elif "BAD" in body["schema"]:
            self.answer(409, {"error_code": 409, "message": "Schema being registered is incompatible"})
        else:
            schema_id = self.registry.register(found[1], body)
            version = self.registry.subjects[found[1]].index(schema_id) + 1
            self.answer(200, {"subject": found[1], "id": schema_id, "version": version, "schema": body["schema"]})

    def answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[SchemaServer]:
    server = SchemaServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_value_goes_through_two_processes_registries(server: SchemaServer) -> None:
    writer = value_serde(Order, "avro", registry=ConfluentRegistry(server.url))
    reader = value_serde(Order, "avro", registry=ConfluentRegistry(server.url))
    data = writer.encode(Order("a", 1.5), topic="orders")
    assert data is not None
    assert data[:5] == b"\x00\x00\x00\x00\x01"
    assert [reader.decode(data, topic="orders") for _ in range(3)] == [Order("a", 1.5)] * 3
    assert server.requests == ["/subjects/orders-value/versions?normalize=False", "/schemas/ids/1"]


def test_an_unknown_id_is_the_payloads_fault(server: SchemaServer) -> None:
    serde = value_serde(Order, "avro", registry=ConfluentRegistry(server.url))
    with pytest.raises(SerdeError) as caught:
        serde.decode(b"\x00\x00\x00\x00\x63abc", topic="orders")
    assert "topic orders: the value is not readable: its schema id 99 is no use" in str(caught.value)
    assert "does not have it: Schema 99 not found (HTTP 404, code 40403)" in str(caught.value)
    assert caught.value.raw == b"\x00\x00\x00\x00\x63abc"


def test_a_schema_that_is_not_compatible_is_refused_with_the_registrys_reason(server: SchemaServer) -> None:
    schema = {"type": "record", "name": "BAD", "fields": []}
    with pytest.raises(
        SerdeError, match=r"topic orders: subject orders-value: .* Schema being registered is incompatible"
    ):
        value_serde(dict, "avro", registry=ConfluentRegistry(server.url), schema=schema).encode({}, topic="orders")


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_registry_in_trouble_is_waited_for(server: SchemaServer, status: int) -> None:
    server.status = status
    server.register("orders-value", {"schema": '"string"'})
    registry = ConfluentRegistry(server.url)
    serde = value_serde(str, "avro", registry=registry, schema="string")
    if status == 404:
        registry = ConfluentRegistry(server.url + "/wrong/path")
        server.status = 200
        serde = value_serde(str, "avro", registry=registry, schema="string")
    with pytest.raises(RetriableError, match="gave no answer on schema id 1"):
        serde.decode(b"\x00\x00\x00\x00\x01\x02a", topic="orders")


def test_a_registry_that_is_not_there_is_waited_for_and_found_when_it_is_back(server: SchemaServer) -> None:
    server.register("orders-value", {"schema": '"string"'})
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as gone:
        nowhere = f"http://127.0.0.1:{gone.server_port}"
    serde = value_serde(str, "avro", registry=ConfluentRegistry(nowhere), schema="string")
    with pytest.raises(RetriableError, match=f"schema registry {nowhere} gave no answer on schema id 1: ConnectError"):
        serde.decode(b"\x00\x00\x00\x00\x01\x02a", topic="orders")
    # The client tries each of its addresses.
    both = value_serde(str, "avro", registry=ConfluentRegistry(f"{nowhere},{server.url}"), schema="string")
    assert both.decode(b"\x00\x00\x00\x00\x01\x02a", topic="orders") == "a"


def test_a_registry_that_never_answers_takes_its_time_out_and_no_longer(server: SchemaServer) -> None:
    silent = ThreadingHTTPServer(("127.0.0.1", 0), Handler)  # it listens, and nobody accepts
    try:
        registry = ConfluentRegistry({"url": f"http://127.0.0.1:{silent.server_port}", "timeout": 0.2})
        with pytest.raises(RetriableError, match="ReadTimeout"):
            registry.schema_by_id(1)
    finally:
        silent.server_close()


def test_who_may_only_read_publishes_with_a_schema_that_is_there(server: SchemaServer) -> None:
    value_serde(Order, "avro", registry=ConfluentRegistry(server.url)).encode(Order("a", 1.0), topic="orders")
    server.read_only = True
    data = value_serde(Order, "avro", registry=ConfluentRegistry(server.url)).encode(Order("a", 1.0), topic="orders")
    assert data is not None
    assert data[:5] == b"\x00\x00\x00\x00\x01"


def test_a_schema_that_refers_to_another_is_read(server: SchemaServer) -> None:
    server.register("country", {"schema": '{"type":"enum","name":"Country","symbols":["DE","FR"]}'})
    person = '{"type":"record","name":"Person","fields":[{"name":"home","type":"Country"}]}'
    references = [{"name": "Country", "subject": "country", "version": 1}]
    server.register("people-value", {"schema": person, "references": references})
    serde = value_serde(
        dict,
        "avro",
        registry=ConfluentRegistry(server.url),
        schema=json.loads(
            person.replace('"type":"Country"', '"type":{"type":"enum","name":"Country","symbols":["DE","FR"]}')
        ),
    )
    assert serde.decode(b"\x00\x00\x00\x00\x02\x02", topic="people") == {"home": "FR"}
