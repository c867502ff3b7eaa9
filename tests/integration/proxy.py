"""A TCP proxy that can stop forwarding: its connections stay up and nobody answers on them."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 65536


class Proxy:
    """Listens on `port` of 127.0.0.1, and forwards to the port that `forward_to` names."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._closed = False
        self._sockets: set[socket.socket] = set()
        self._still: set[socket.socket] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            open_now = [self._listener, *self._sockets]
        for one in open_now:
            with suppress(OSError):  # the other side was first
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def forward_to(self, port: int) -> None:
        """Begin. What connected before waits until now."""
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def stand_still(self) -> None:
        """Forward nothing more on the connections that there are; new ones are served."""
        with self._lock:
            self._still.update(self._sockets)

    def _accept(self, port: int) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                try:
                    broker = socket.create_connection(("127.0.0.1", port))
                except OSError:  # the broker is gone
                    client.close()
                    continue
                self._join(client, broker)

    def _join(self, client: socket.socket, broker: socket.socket) -> None:
        with self._lock:
            self._sockets.update((client, broker))
            if self._closed:
                client.close()
                broker.close()
        for source, sink in ((client, broker), (broker, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if source not in self._still:
                    sink.sendall(data)
            if source not in self._still:  # else the other side is not even told of the end
                sink.shutdown(socket.SHUT_RDWR)
