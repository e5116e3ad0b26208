"""Dead letters of one queue or topic: what they are, and sending them on their way again."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from nuska.client.connection import Answer, Connection
from nuska.client.encoding import encode_json
from nuska.client.paging import Link, Listing, Page

_JSON = {"Content-Type": "application/json"}


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message, or a notification of one, that got nowhere."""

    id: str
    kind: str
    """``message`` or ``delivery``."""
    message_id: str
    reason: str
    count: int
    """Claims that handed it out, or attempts to tell the subscriber."""
    at: str
    """Since when, as ISO 8601."""
    body: Any = None
    attributes: dict[str, Any] = {}
    subscription_id: str | None = None
    subscriber: str | None = None


class Redriven(Struct, frozen=True, kw_only=True):
    """What one call sent on its way."""

    ids: list[str]
    skipped: int
    """Notifications whose subscription is no more."""
    marker: str
    """Where the next call goes on."""
    complete: bool


class _DeadLetters(Struct, frozen=True):
    dead_letters: list[DeadLetter]
    links: list[Link] = []


class DeadLetters:
    """Made by ``Queue.dead_letters`` and ``Topic.dead_letters``."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._href = f"{source}/dead_letters"

    def list(self, *, reason: str | None = None, page: int | None = None) -> Listing[DeadLetter]:
        """All of them; with ``reason``, those that have it in theirs."""
        return Listing(self._connection, self._href, {"limit": page, "reason": reason}, _page)

    async def redrive(
        self,
        *,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
        dry_run: bool = False,
    ) -> Redriven:
        """Send some on their way again, at most a hundred: those of ``ids``, those that have
        ``reason`` in theirs, or any."""
        given = {"ids": ids, "reason": reason, "limit": limit, "marker": marker}
        body = {name: value for name, value in given.items() if value is not None}
        answer = await self._connection.call(
            "POST",
            f"{self._href}/redrive",
            body=encode_json({**body, "dry_run": dry_run}),
            headers=_JSON,
        )
        return answer.read(Redriven)


def _page(answer: Answer) -> Page[DeadLetter]:
    page = answer.read(_DeadLetters)
    return page.dead_letters, page.links
