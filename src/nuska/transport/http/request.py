"""One request: Falcon's, plus who sent it, what its query asks, and a reader of its body.

Bodies are read here rather than through Falcon's stream and media handlers, which cost more
than the rest of a small post; a body larger than its limit is never read to its end.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from falcon import RequestOptions
from falcon.asgi import Request

from nuska.domain.errors import InvalidBody, InvalidInput
from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.domain.signing import SignedTerms
from nuska.interfaces.identity import Caller, Identity, Verified
from nuska.transport.http.query import NOTHING_ASKED, Asked
from nuska.transport.wire import msgpack

UNREAD_TOLERATED = 1_048_576
"""Bytes. A refused body up to this size is let in and dropped, so that the client reads the
refusal; beyond it, or when the size is unknown, the connection is closed."""

MSGPACK_GROWTH = 2
"""How many times its limit a body sent as MessagePack may have as JSON: a byte there may be six
here, and every reader of a page would pay for it."""
SMALL = 1024
"""Bytes that no limit on growth is about."""

Event = dict[str, Any]


class ApiRequest(Request):
    """``caller``, ``queue`` and what was verified are set by the checks, ``asked`` by the
    dispatch."""

    __slots__ = (
        "_event",
        "_wait_for_event",
        "asked",
        "caller",
        "has_spent",
        "identity",
        "malformed_query",
        "path_fields",
        "queue",
        "signed",
        "started",
        "verified",
        "wants_msgpack",
    )

    caller: Caller
    queue: str
    path_fields: dict[str, str]
    identity: Identity | None
    """Whom to ask again what the sender has proved; None where nobody was asked."""
    verified: Verified | None
    """What the sender has proved; None until then, and where its claims are believed."""
    signed: SignedTerms | None
    """By what the sender has proved it, when that is a signature."""
    has_spent: bool
    """One of the signature's uses was counted for this."""

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Event]],
        first_event: Event | None = None,
        options: RequestOptions | None = None,
    ) -> None:
        self.malformed_query = False
        try:
            super().__init__(scope, receive, first_event, options)
        except UnicodeDecodeError:
            # A query that is not UTF-8: routing and checks go on, its reader will refuse it.
            self.malformed_query = True
            super().__init__({**scope, "query_string": b""}, receive, first_event, options)
        self._event: Event = first_event or {}
        self._wait_for_event = receive
        self.asked: Asked = NOTHING_ASKED
        self.identity = None
        self.verified = None
        self.signed = None
        self.has_spent = False
        self.wants_msgpack = False
        self.started = 0.0

    def header(self, name: bytes) -> bytes | None:
        """A header by its lower-case name, as it came."""
        return self._asgi_headers.get(name)

    @property
    def is_topic(self) -> bool:
        """Whether ``queue`` is the name of a topic."""
        return "topic_name" in self.path_fields

    @property
    def place(self) -> QueueRef | None:
        """The queue or topic of the caller's that the path names, if it names one."""
        name = self.path_fields.get("queue_name")
        if name is not None:
            return QueueRef(self.caller.project, name)
        name = self.path_fields.get("topic_name")
        return None if name is None else topic(self.caller.project, name)

    @property
    def base(self) -> str:
        """Where the queue or topic is."""
        return f"/v2/{'topics' if self.is_topic else 'queues'}/{self.queue}"

    @property
    def raw_headers(self) -> dict[bytes, bytes]:
        """Every header by its lower-case name; repeated ones joined by commas."""
        return self._asgi_headers

    @property
    def has_unread_body(self) -> bool:
        """Whether more of the body may come."""
        return bool(self._event.get("more_body", False))

    @property
    def closes_unread(self) -> bool:
        """Whether so much of the body is unread that the connection is not worth keeping."""
        if not self.has_unread_body:
            return False
        length = self._length()
        if length is None:
            return b"transfer-encoding" in self._asgi_headers
        return length > UNREAD_TOLERATED

    async def read(self, limit: int, what: str) -> bytes:
        """The body as JSON text, empty when there is none; ``InvalidInput`` beyond ``limit``."""
        length = self._length()
        if length is not None and length > limit:
            raise _too_large(limit, what)
        body: bytes = self._event.get("body", b"")
        if self._event.get("more_body", False):
            body = await self._read_on(body, limit, what)
        if len(body) > limit:
            raise _too_large(limit, what)
        if body and self.content_type is not None and _is_msgpack(self.content_type):
            body = msgpack.to_json(body)
            if len(body) > MSGPACK_GROWTH * limit + SMALL:
                raise InvalidInput(
                    f"{what} is too large: written as JSON, as it is kept, it may have "
                    f"{MSGPACK_GROWTH} times the maximum of {limit} bytes."
                )
        return body

    async def _read_on(self, begun: bytes, limit: int, what: str) -> bytes:
        pieces, size = [begun], len(begun)
        while self._event.get("more_body", False):
            self._event = await self._wait_for_event()
            if self._event["type"] != "http.request":
                raise InvalidBody("The request ended before its body was complete.")
            piece = self._event.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise _too_large(limit, what)
        return b"".join(pieces)

    async def until_gone(self) -> None:
        """Return when the client has closed the connection (or the answer is complete)."""
        while (await self._wait_for_event())["type"] != "http.disconnect":
            pass  # what is left of a body that nobody asked for

    @property
    def is_gone(self) -> bool:
        """Whether the server knows at this very moment that the connection is closed."""
        gone = self.scope.get("nuska.gone")
        return gone is not None and bool(gone())

    def _length(self) -> int | None:
        length = self._asgi_headers.get(b"content-length")
        return int(length) if length is not None and length.isdigit() else None


def _is_msgpack(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == msgpack.CONTENT_TYPE


def _too_large(limit: int, what: str) -> InvalidInput:
    return InvalidInput(f"{what} is too large: the maximum is {limit} bytes.")
