"""A bit of everything that a store can do, from several callers at once.

What is done next is chosen by a seeded random source, and each caller uses what the others
have found: ids, claims, popped messages. Refuses to look at answers beyond that; whether
they are right is for the one who made the calls to say.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from nuska.domain.claims import Claimed, DeadLetterRule
from nuska.domain.errors import Conflict, Unavailable
from nuska.domain.messages import Added, Idempotency, Message, NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment, seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.queues import Queue
from nuska.interfaces.announcing import AnnouncingStore
from nuska.testing.clock import ManualClock
from nuska.testing.questions import Call

JOBS = QueueRef("acme", "jobs")
MAIL = QueueRef("acme", "mail")
DEAD = QueueRef("acme", "dead")
PASSING = QueueRef("other", "passing")
"""Deleted and made again."""
RELAXED = QueueRef("acme", "sensors")
QUEUES = (JOBS, JOBS, MAIL, PASSING)
RULE = DeadLetterRule(max_claims=2, queue=DEAD, ttl=seconds(900))
BIG_BODY = 9_000
"""Bytes: more than two pages of the file."""

Perform = Callable[[Call, Moment], Awaitable[Any]]


class MixedLoad:
    """``perform`` makes a call and returns its answer."""

    def __init__(
        self,
        store: AnnouncingStore,
        perform: Perform,
        clock: ManualClock,
        seed: int,
        *,
        relaxed: bool,
    ) -> None:
        self._store = store
        self._perform = perform
        self._clock = clock
        self._random = Random(seed)
        self._queues = (*QUEUES, RELAXED) if relaxed else QUEUES
        self._ids: list[tuple[QueueRef, str]] = []
        self._claims: list[tuple[QueueRef, str, list[str]]] = []
        self._popped: list[tuple[QueueRef, list[Message]]] = []
        self._posts: list[Call] = []
        self._counter = 0
        self.unavailable = 0
        """Calls that were answered ``Unavailable``."""
        self._deeds: list[tuple[Callable[[QueueRef], Awaitable[None]], int]] = [
            (self._post, 8),
            (self._post_many, 4),
            (self._post_once, 3),
            (self._post_again, 2),
            (self._claim, 8),
            (self._renew, 3),
            (self._release, 4),
            (self._delete, 5),
            (self._delete_many, 3),
            (self._pop, 3),
            (self._put_back, 1),
            (self._change_metadata, 2),
            (self._purge, 1),
            (self._delete_queue, 1),
            (self._open_log, 2),
            (self._close_log, 1),
            (self._trim_log, 2),
            (self._let_time_pass, 2),
            (self._sweep, 4),
        ]

    async def prepare(self) -> None:
        """The queues with settings; the others come into being by a post."""
        await self._call("queues.create", MAIL, {"team": "post"})
        if RELAXED in self._queues:
            await self._call("queues.create", RELAXED, {}, relaxed=True)
        for queue in dict.fromkeys(self._queues):
            await self._open_log(queue)

    async def run(self, callers: int, deeds: int) -> None:
        """``callers`` at once, each doing so many things."""
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._caller(deeds))

    async def _caller(self, deeds: int) -> None:
        choices, weights = zip(*self._deeds, strict=True)
        for _ in range(deeds):
            deed = self._random.choices(choices, weights)[0]
            try:
                await deed(self._random.choice(self._queues))
            except Unavailable:
                self.unavailable += 1
            except Conflict:
                continue

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        call = Call(method=method, arguments=arguments, options=options)
        return await self._perform(call, self._clock.now())

    def _new(self, *, delay: bool = False) -> NewMessage:
        self._counter += 1
        size = self._random.choice((0, 40, 400, BIG_BODY))
        return NewMessage(
            body=b'"%d %s"' % (self._counter, b"x" * size),
            ttl=seconds(self._random.choice((60, 300, 3600))),
            delay=seconds(self._random.choice((0, 5, 30)) if delay else 0),
            attributes=b'{"n": %d}' % self._counter if self._counter % 3 == 0 else None,
        )

    async def _post(self, queue: QueueRef) -> None:
        added: Added = await self._call("messages.add", queue, [self._new()], poster=b"one")
        self._ids += [(queue, one) for one in added.ids]

    async def _post_many(self, queue: QueueRef) -> None:
        messages = [self._new(delay=True) for _ in range(self._random.randint(2, 12))]
        added: Added = await self._call("messages.add", queue, messages)
        self._ids += [(queue, one) for one in added.ids]

    async def _post_once(self, queue: QueueRef) -> None:
        messages = [self._new() for _ in range(self._random.randint(1, 7))]
        promise = Idempotency(key=f"key-{self._counter}", fingerprint=b"print")
        call = Call(
            method="messages.add", arguments=(queue, messages), options={"idempotency": promise}
        )
        self._posts.append(call)
        await self._perform(call, self._clock.now())

    async def _post_again(self, queue: QueueRef) -> None:
        if self._posts:
            await self._perform(self._random.choice(self._posts), self._clock.now())

    async def _claim(self, queue: QueueRef) -> None:
        claim_id = self._random.randbytes(12).hex()
        claimed: Claimed = await self._call(
            "claims.create",
            queue,
            claim_id=claim_id,
            limit=self._random.randint(1, 6),
            ttl=seconds(self._random.choice((5, 60, 400))),
            grace=seconds(60),
            dead_letters=RULE if queue == JOBS else None,
        )
        if claimed.messages:
            self._claims.append((queue, claim_id, [one.id for one in claimed.messages]))

    async def _renew(self, queue: QueueRef) -> None:
        if self._claims:
            held, claim_id, _ = self._random.choice(self._claims)
            await self._call(
                "claims.renew", held, claim_id, ttl=seconds(90), grace=Duration(60_000)
            )

    async def _release(self, queue: QueueRef) -> None:
        if self._claims:
            held, claim_id, _ = self._random.choice(self._claims)
            await self._call("claims.release", held, claim_id, uncount=self._random.random() < 0.3)

    async def _delete(self, queue: QueueRef) -> None:
        if self._claims and self._random.random() < 0.7:
            held, claim_id, ids = self._random.choice(self._claims)
            await self._call("messages.delete", held, self._random.choice(ids), claim_id=claim_id)
        elif self._ids:
            await self._call("messages.delete", *self._random.choice(self._ids))

    async def _delete_many(self, queue: QueueRef) -> None:
        if self._claims:
            held, claim_id, ids = self._random.choice(self._claims)
            named = [claim_id] if self._random.random() < 0.5 else None
            await self._call("messages.delete_many", held, ids, claim_ids=named)

    async def _pop(self, queue: QueueRef) -> None:
        taken = await self._call("messages.pop", queue, limit=self._random.randint(1, 5))
        if taken:
            self._popped.append((queue, taken))

    async def _put_back(self, queue: QueueRef) -> None:
        if self._popped:
            await self._call("messages.put_back", *self._popped.pop())

    async def _change_metadata(self, queue: QueueRef) -> None:
        found: Queue | None = await self._store.queues.get(queue)
        if found is not None:
            self._counter += 1
            await self._call(
                "queues.replace_metadata", found, {"n": self._counter}, relaxed=found.relaxed
            )

    async def _purge(self, queue: QueueRef) -> None:
        await self._call("queues.purge", queue)

    async def _delete_queue(self, queue: QueueRef) -> None:
        await self._call("queues.delete", PASSING)

    async def _open_log(self, queue: QueueRef) -> None:
        await self._call("announcements.open", queue)

    async def _close_log(self, queue: QueueRef) -> None:
        seen = await self._store.announcements.state(queue, now=self._clock.now())
        if seen is not None:
            await self._call("announcements.close", queue, version=seen.version)

    async def _trim_log(self, queue: QueueRef) -> None:
        log = await self._store.announcements.page(
            queue, after=BEFORE_ALL, limit=self._random.randint(1, 20), now=self._clock.now()
        )
        if log:
            await self._call("announcements.trim", queue, through=log[-1].position)

    async def _let_time_pass(self, queue: QueueRef) -> None:
        self._clock.advance(milliseconds=self._random.choice((1, 700, 20_000)))

    async def _sweep(self, queue: QueueRef) -> None:
        await self._store.sweep(now=self._clock.now())
