"""What the server says to a request that no handler will see."""

import json
from http import HTTPStatus

from msgspec import Struct

NOSNIFF = ("x-content-type-options", "nosniff")
"""On every answer, whoever gives it: what it is, is what it says it is."""


class Refusal(Struct, frozen=True):
    """An answer after which the connection is closed."""

    status: int
    title: str
    description: str

    def encode(self, request_id: str, date_line: bytes = b"") -> bytes:
        """The whole answer, as it goes to the socket."""
        body = json.dumps({"title": self.title, "description": self.description}).encode()
        retry = "retry-after: 1\r\n" if self.status == HTTPStatus.SERVICE_UNAVAILABLE else ""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            "content-type: application/json\r\n"
            f"{': '.join(NOSNIFF)}\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-openstack-request-id: {request_id}\r\n"
            f"{retry}connection: close\r\n"
        )
        return head.encode() + date_line + b"\r\n" + body


def malformed(description: str) -> Refusal:
    """400: the bytes are not an HTTP/1.1 request, or could be read in two ways."""
    return Refusal(400, "Malformed HTTP request", description)


NOT_HTTP = malformed("The bytes received are not a valid HTTP/1.1 request.")
HEAD_TOO_LARGE = Refusal(
    431,
    "Request header fields too large",
    "Request line and headers may have 32768 bytes and 128 header lines.",
)
HEAD_TOO_SLOW = Refusal(408, "Request timeout", "The head of the request took too long.")
BODY_TOO_SLOW = Refusal(408, "Request timeout", "The body of the request took too long.")
TOO_MANY_CONNECTIONS = Refusal(
    503,
    "Service temporarily unavailable",
    "The server has as many connections as it may have. Please retry in a few seconds.",
)
STOPPING = Refusal(
    503,
    "Service temporarily unavailable",
    "The server is stopping. Please retry in a few seconds.",
)
FOREIGN = Refusal(
    403,
    "Not authorized",
    "The header Host or Origin names a host that this server does not answer for while it runs "
    "without authentication.",
)
BUG = Refusal(
    500, "Internal server error", "The request met an unexpected problem; the log has its id."
)
