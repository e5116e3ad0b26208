"""A receiver of webhooks to try things out with: shows what arrives, and answers as it is told.

One request at a time, from whoever reaches the address; nothing is kept. No part of a service.
"""

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

from msgspec import Struct

from nuska.addresses import TcpAddress

MAX_BODY = 1_048_576
"""Bytes; a larger request is answered with 413, and not read."""
PATIENCE = 10.0
"""Seconds for each piece of a request."""


class Arrival(Struct, frozen=True):
    """A request that arrived whole."""

    path: str
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes

    @property
    def document(self) -> object:
        """The body as JSON, else as text."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "backslashreplace")


class Receiver:
    """Listens from the beginning; ``OSError`` when it cannot."""

    def __init__(
        self, address: TcpAddress, status: int, arrived: Callable[[Arrival], None]
    ) -> None:
        self.count = 0

        def received(arrival: Arrival) -> None:
            self.count += 1
            arrived(arrival)

        told = {"status": status, "arrived": staticmethod(received)}
        handler = type("Handler", (_Handler,), told)
        kind = _Server6 if _is_version_6(address.host) else HTTPServer
        self._server = kind((address.host, address.port), handler)
        self.address = TcpAddress(address.host, self._server.server_port)

    def run(self, count: int | None) -> None:
        """Until so many requests have arrived; for ever without ``count``."""
        try:
            while count is None or self.count < count:
                self._server.handle_request()
        finally:
            self._server.server_close()


class _Server6(HTTPServer):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server_version = "nuska-webhook-receive"
    sys_version = ""
    status = 200
    arrived: Callable[[Arrival], None]

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            self.send_error(400)
        elif len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
            self.send_error(413)
        else:
            body = self.rfile.read(int(length))
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            headers = {name.lower(): value for name, value in self.headers.items()}
            type(self).arrived(Arrival(self.path, headers, body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """What arrives is shown by whoever asked for it."""


def _is_version_6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False
