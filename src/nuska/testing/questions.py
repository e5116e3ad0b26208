"""Everything that can be observed of a store, so that two can be compared.

Refuses to compare versions of queues and of logs, which are each store's own, and moments that
have passed.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from nuska.domain.errors import Conflict
from nuska.domain.messages import Idempotency, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.announcing import AnnouncingStore
from nuska.interfaces.storage import Store

EVERYTHING = 1_000_000


class Call(Struct, frozen=True, kw_only=True):
    """One call of a store, to be made on several."""

    method: str
    """``messages.add``, …"""
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}

    @property
    def queues(self) -> list[QueueRef]:
        """The queues it is about."""
        first = self.arguments[0]
        rule = self.options.get("dead_letters")
        own: QueueRef = first if isinstance(first, QueueRef) else first.ref
        return [own] if rule is None else [own, rule.queue]

    async def make(self, store: Store, now: Moment) -> Any:
        return await attrgetter(self.method)(store)(*self.arguments, **self.options, now=now)


class Questions:
    """Made from the calls whose names and ids are to be asked for."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._claims: dict[tuple[QueueRef, str], None] = {}
        self._posts: dict[tuple[QueueRef, str], Idempotency] = {}
        self._projects: dict[str, None] = {}
        self._logs: dict[QueueRef, None] = {}
        for call in calls:
            queue = call.queues[0]
            if call.method.startswith("announcements."):
                self._logs[queue] = None
            self._projects[queue.project] = None
            if "claim_id" in call.options:
                self._claims[queue, call.options["claim_id"]] = None
            post = call.options.get("idempotency")
            if post is not None:
                self._posts.setdefault((queue, post.key), post)

    async def ask(self, store: AnnouncingStore, now: Moment) -> bytes:
        """The answers as one text. Asking for remembered posts writes to the store."""
        answers: list[object] = []
        for project in self._projects:
            for queue in await store.queues.page(project, after=None, limit=EVERYTHING):
                answers.append(msgspec.structs.replace(queue, version=0))
                answers += await _content(store, queue.ref, now)
        for ref, claim_id in self._claims:
            claim = await store.claims.get(ref, claim_id, now=now)
            answers.append(claim if claim is None else msgspec.to_builtins(claim))
        for (ref, _), post in self._posts.items():
            if await store.queues.get(ref) is not None:
                answers.append(await _remembered(store, ref, post, now))
        for ref in self._logs:
            logs = store.announcements
            answers.append(await logs.state(ref, now=now) is not None)
            answers += await logs.page(ref, after=BEFORE_ALL, limit=EVERYTHING, now=now)
        return msgspec.json.format(msgspec.json.encode(answers))


async def _content(store: Store, ref: QueueRef, now: Moment) -> list[object]:
    everything = await store.messages.page(
        ref,
        after=BEFORE_ALL,
        limit=EVERYTHING,
        include_claimed=True,
        include_delayed=True,
        now=now,
    )
    available = await store.messages.page(ref, after=BEFORE_ALL, limit=EVERYTHING, now=now)
    stats = await store.queues.stats(ref, now=now)
    return [
        [
            msgspec.structs.replace(message, available_at=Moment(max(message.available_at, now)))
            for message in everything.messages
        ],
        [message.id for message in available.messages],
        stats,
    ]


async def _remembered(store: Store, ref: QueueRef, post: Idempotency, now: Moment) -> object:
    try:
        return await store.messages.add(ref, [], idempotency=post, now=now)
    except Conflict:
        return "another post"
