"""Conversations over WebSocket without the sockets: one connection's session, driven by a test.

What the server's connections do is done here at once: a request is carried out as soon as it is
sent, and what is pushed is put down as it would arrive.
"""

import json
from collections.abc import Mapping
from typing import Any

from nuska.transport.websocket.pushes import Notice, Pushes, encode_push
from nuska.transport.websocket.service import WebSocketService
from nuska.transport.websocket.session import Answer


class Conversation:
    """One connection; implements ``Outlet``."""

    def __init__(
        self,
        service: WebSocketService,
        headers: Mapping[str, object],
        source: str | None = "127.0.0.1",
    ) -> None:
        """``headers`` go with every request; ``source`` is the client's address."""
        self._service = service
        self._headers = headers
        self._replies: list[bytes] = []
        self.pushed: list[dict[str, Any]] = []
        self.closed: list[tuple[int, str]] = []
        """Codes and reasons."""
        self.session = service.open_session(self, source)

    async def ask(
        self,
        action: str,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, object] | None = None,
    ) -> tuple[int, Any]:
        """Status and body of the reply; ``headers`` instead of the connection's, or beside."""
        request = {
            "action": action,
            "headers": {**self._headers, **(headers or {})},
            "body": body or {},
        }
        session = self.session
        session.received(json.dumps(request).encode(), binary=False)
        [turn] = session.to_start()
        session.finished(turn, await self._service.perform(session, turn))
        self.flush()
        document = json.loads(self._replies.pop())
        assert not self._replies, "one request, one reply"
        return document["headers"]["status"], document["body"]

    def leave(self) -> None:
        """The client has gone."""
        self._service.closed(self.session)

    # As the session knows it

    def flush(self) -> None:
        for sending in self.session.to_send():
            match sending:
                case Answer(message=message):
                    self._replies.append(message)
                case Pushes(batch=batch, detailed=detailed):
                    self.pushed += [
                        json.loads(encode_push(item, detailed=detailed, binary=False))
                        for item in batch
                    ]
                case Notice(text=text):
                    self.pushed.append(json.loads(text))

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def has_gone(self) -> bool:
        return False
