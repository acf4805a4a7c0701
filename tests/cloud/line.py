"""A line to a server that can be cut and mended: what is on its way breaks off, and nobody answers meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Line:
    """A TCP proxy in threads; `url` leads through it."""

    server: str
    cut: bool = False
    refused: int = 0  # connections, while it was cut
    _door: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The server's address, through the line."""
        return f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def go_down(self) -> None:
        """Cut it."""
        self.cut = True
        for end in tuple(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def come_up(self) -> None:
        """Mend it."""
        self.cut = False

    def serve(self) -> None:
        """Take connections until the door is closed."""
        host = urlsplit(self.server)
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            if self.cut:
                self.refused += 1
                near.close()
                continue
            far = socket.create_connection((host.hostname, host.port))
            for one, other in ((near, far), (far, near)):
                self._open.add(one)
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        for end in (one, other):
            self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.go_down()


@contextlib.contextmanager
def line_to(server: str) -> Iterator[Line]:
    """A line to a server, which is up."""
    line = Line(server)
    threading.Thread(target=line.serve, daemon=True).start()
    try:
        yield line
    finally:
        line.close()
