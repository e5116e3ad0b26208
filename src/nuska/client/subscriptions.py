"""Subscriptions of one queue or topic: whom it tells of what is posted."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from nuska.client.address import segment
from nuska.client.connection import Answer, Connection
from nuska.client.encoding import encode_json
from nuska.client.paging import Link, Listing, Page

_JSON = {"Content-Type": "application/json"}


class Disabled(Struct, frozen=True):
    """Why nothing is sent to a subscriber."""

    reason: str
    at: str
    """Since when, as ISO 8601."""


class Waiting(Struct, frozen=True, rename={"waits_for": "for"}):
    """What a subscriber waits for who is sent nothing yet."""

    waits_for: str
    """``confirmation``."""
    problem: str | None = None
    """Why he cannot even be asked."""


class Subscription(Struct, frozen=True, kw_only=True):
    """A subscription as the server shows it."""

    id: str
    source: str
    """The queue or topic."""
    subscriber: str
    ttl: int
    """Seconds it lives, counted from when ``age`` counts from."""
    age: int
    """Seconds since its creation or the last change of its ttl."""
    options: dict[str, Any] = {}
    """With ``***`` in place of secrets."""
    confirmed: bool = False
    disabled: Disabled | None = None
    waiting: Waiting | None = None


class Trouble(Struct, frozen=True, kw_only=True):
    """Why nothing new is sent to a subscriber at the moment."""

    since: str
    error: str
    """Of the last attempt."""
    failures: int
    """In a row."""
    next_at: str
    """When it is tried again."""


class Standing(Struct, frozen=True, kw_only=True):
    """How it goes with telling a subscriber."""

    state: str
    """``active``, ``trouble``, ``waiting`` or ``disabled``."""
    since: str
    """What follows counts attempts from here on."""
    attempts: int
    succeeded: int
    success_rate: float | None = None
    """Of attempts, 0 to 1; None when there were none."""
    complete: bool = True
    """False: there were more than are counted."""
    last_success: str | None = None
    last_failure: str | None = None
    breaker: str = "closed"
    """``open``: nothing new is sent, but for a probe now and then."""
    trouble: Trouble | None = None
    disabled: Disabled | None = None
    waiting: Waiting | None = None


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt to tell a subscriber of a message, or to send a letter about it."""

    message_id: str | None = None
    """None for a letter."""
    letter: str | None = None
    """``SubscriptionConfirmation`` or ``UnsubscribeConfirmation``."""
    attempt: int
    """Counts from 1."""
    at: str
    ok: bool
    status: int | None = None
    error: str | None = None
    latency_ms: int = 0
    next_at: str | None = None
    """When it is tried again; None when it is not."""


class _Attempts(Struct, frozen=True):
    attempts: list[Attempt]
    links: list[Link] = []


class _Trial(Struct, frozen=True):
    message_id: str


class _Created(Struct, frozen=True):
    subscription_id: str


class _Subscriptions(Struct, frozen=True):
    subscriptions: list[Subscription]
    links: list[Link] = []


class Subscriptions:
    """Made by ``Queue.subscriptions`` and ``Topic.subscriptions``."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._href = f"{source}/subscriptions"

    async def create(
        self,
        subscriber: str,
        *,
        ttl: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """Have ``subscriber`` told of what is posted from now on; returns the subscription's id.

        One that is there already and not confirmed is changed to this. ``Conflict`` when the
        subscriber has confirmed it.
        """
        body = {"subscriber": subscriber, **_given(ttl=ttl, options=options)}
        answer = await self._connection.call(
            "POST", self._href, body=encode_json(body), headers=_JSON
        )
        return answer.read(_Created).subscription_id

    def list(self, *, page: int | None = None, marker: str | None = None) -> Listing[Subscription]:
        """The subscriptions by id, after the id ``marker``."""
        query = {"limit": page, "marker": marker}
        return Listing(self._connection, self._href, query, _page)

    async def show(self, subscription_id: str) -> Subscription:
        """``NotFound`` when there is none of this id any more."""
        answer = await self._connection.call("GET", self._one(subscription_id))
        return answer.read(Subscription)

    async def update(
        self,
        subscription_id: str,
        *,
        subscriber: str | None = None,
        ttl: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what is given; options are replaced as a whole. A disabled one is repaired."""
        body = _given(subscriber=subscriber, ttl=ttl, options=options)
        await self._connection.call(
            "PATCH", self._one(subscription_id), body=encode_json(body), headers=_JSON
        )

    async def delete(self, subscription_id: str) -> None:
        """End a subscription; it need not exist."""
        await self._connection.call("DELETE", self._one(subscription_id))

    async def confirm(self, subscription_id: str, confirmed: bool = True) -> None:
        """Say for the subscriber that he wants to be told, or no longer wants to."""
        await self._connection.call(
            "PUT",
            f"{self._one(subscription_id)}/confirm",
            body=encode_json({"confirmed": confirmed}),
            headers=_JSON,
        )

    async def enable(self, subscription_id: str) -> bool:
        """Have a disabled subscription tried again; False when it was not disabled, or stays so:
        one who has left comes back by himself."""
        before = await self.show(subscription_id)
        if before.disabled is None:
            return False
        await self.update(subscription_id, subscriber=before.subscriber)
        return (await self.show(subscription_id)).disabled is None

    def attempts(
        self, subscription_id: str, *, since: int | None = None, page: int | None = None
    ) -> Listing[Attempt]:
        """What was tried in the last ``since`` seconds (an hour), oldest first."""
        href = f"{self._one(subscription_id)}/attempts"
        return Listing(self._connection, href, {"since": since, "limit": page}, _attempts)

    async def stats(self, subscription_id: str, *, since: int | None = None) -> Standing:
        """How it went in the last ``since`` seconds (an hour), and how it stands."""
        href = f"{self._one(subscription_id)}/stats"
        answer = await self._connection.call("GET", href, query={"since": since})
        return answer.read(Standing)

    async def test(self, subscription_id: str) -> str:
        """Have the subscriber told, once, of a message of the service's own; its id, as
        ``attempts`` shows it."""
        answer = await self._connection.call("POST", f"{self._one(subscription_id)}/test")
        return answer.read(_Trial).message_id

    async def replay(self, subscription_id: str, since: int) -> None:
        """Tell the subscriber again of the last ``since`` seconds, as far as they are kept."""
        await self._connection.call(
            "POST",
            f"{self._one(subscription_id)}/replay",
            body=encode_json({"since": since}),
            headers=_JSON,
        )

    def _one(self, subscription_id: str) -> str:
        return f"{self._href}/{segment(subscription_id)}"


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _page(answer: Answer) -> Page[Subscription]:
    page = answer.read(_Subscriptions)
    return page.subscriptions, page.links


def _attempts(answer: Answer) -> Page[Attempt]:
    page = answer.read(_Attempts)
    return page.attempts, page.links
