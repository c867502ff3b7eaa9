"""`/live`, `/ready` and `/metrics`: what Kubernetes and Prometheus ask a worker."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streamq.model.clock import Clock
from streamq.model.errors import ConfigError
from streamq.runtime.metrics_page import OwnersCollector
from streamq.runtime.worker import Worker


class StatusServer:
    """Serves one worker's status on a port, on daemon threads, until `close`.

    Raises:
        ConfigError: the port cannot be had.
    """

    def __init__(self, worker: Worker, port: int, clock: Clock, host: str = "") -> None:
        registry = CollectorRegistry()
        registry.register(OwnersCollector(worker.owners.values, clock.monotonic))
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(worker, registry, clock))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"--http {port}: the port cannot be had ({error}): free it or name another one"
            ) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(1.0)


def _handler(worker: Worker, registry: CollectorRegistry, clock: Clock) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?", 1)[0]
            if path == "/live":
                self._say(worker.live(clock.monotonic()), "the owner goes on", "the owner stands still")
            elif path == "/ready":
                self._say(worker.ready(clock.monotonic()), "assigned and reading", "not assigned yet, or not reading")
            elif path == "/metrics":
                self._send(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)
            else:
                self._send(HTTPStatus.NOT_FOUND, b"there are /live, /ready and /metrics\n")

        def _say(self, good: bool, yes: str, no: str) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, f"{yes if good else no}\n".encode())

        def _send(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds: they are not logged."""

    return Handler
