"""Small web servers inside the closed network."""

from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves in threads of its own; asks no name server for its own name, as `HTTPServer` does."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, and take the address for the name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """Answers whole texts, keeps connections open and logs nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        """Send one whole answer."""
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content_Length": str(len(data)), "Content_Type": "text/plain", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Say nothing."""


def serve(server: Server) -> None:
    """Serve in the background for as long as this process lives."""
    threading.Thread(target=server.serve_forever, name=f"port {server.server_port}", daemon=True).start()
