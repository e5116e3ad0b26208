"""One process of several that use the same shared store, and writes down what it was told.

    python -m nuska.testing.store_worker URL NAME --skew MILLISECONDS

Posts a fixed number of batches and claims, renews, releases and deletes until its standard
input ends, so that it never outlives whoever started it. Every line that it prints is a
``Line``: once before a request, and again when the answer has come, so that a process that is
killed has told what it was about. ``--skew`` is how wrong the clock of its machine is; like a
node of the service it lives by the store's time. Refuses to judge: see
``nuska.testing.store_processes``.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random

import msgspec

from nuska.domain.claims import DeadLetterRule
from nuska.domain.errors import Unavailable
from nuska.domain.messages import DeleteOutcome, Idempotency, Message, NewMessage, QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.domain.positions import claim_id
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import SharedStore, Store
from nuska.system import SystemClock
from nuska.testing.histories import Deletion, Post, Release, Renewal, Take
from nuska.testing.opening import open_by_url
from nuska.upkeep.store_clock import ServerClock

WORK = QueueRef("acme", "work")
DEAD = QueueRef("acme", "dead")
LATER = QueueRef("acme", "later")
"""Its messages are delayed."""
PASSING = QueueRef("acme", "passing")
"""Its messages do not live long."""
RULE = DeadLetterRule(max_claims=4, queue=DEAD)
HOUR = seconds(3600)
DELAY = Duration(400)
SHORT_LIFE = Duration(300)
CLAIM_TTL = Duration(1_000)
NO_GRACE = Duration(0)
BATCHES = 25
"""That each producer posts."""
PRODUCERS = 2
WORKERS = 4
IDLE = 0.01
"""Seconds until a worker who found nothing looks again."""


class Handed(msgspec.Struct, kw_only=True):
    """A message as a claim got it, with moments of the store's own time."""

    queue: str
    message_id: str
    claim_id: str
    begins: int
    ends: int
    created: int
    count: int


class Prolonged(msgspec.Struct, kw_only=True):
    """A claim was renewed, and goes on at least until then."""

    claim_id: str
    until: int


class Over(msgspec.Struct, kw_only=True):
    """A claim is being given up, at that moment or later."""

    claim_id: str
    at: int


class Ready(msgspec.Struct, kw_only=True):
    """All batches are posted."""

    skew: int


Said = Post | Take | Renewal | Release | Deletion | Handed | Prolonged | Over | Ready
KINDS: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind
    for kind in (Post, Take, Renewal, Release, Deletion, Handed, Prolonged, Over, Ready)
}


class Line(msgspec.Struct, kw_only=True):
    """One line of output. Of lines with one number, the last counts."""

    number: int
    kind: str
    said: msgspec.Raw
    refused: bool = False
    """The store said that it did nothing."""


class SkewedClock(SystemClock):
    """That of a machine whose clock is wrong."""

    def __init__(self, skew: int) -> None:
        super().__init__()
        self._offset += skew * 1_000_000


class Worker:
    """Producers and workers of one process."""

    def __init__(self, store: Store, clock: Clock, name: str) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._random = Random(name)
        self._numbers = count()
        self._stopping = asyncio.Event()

    async def run(self, skew: int) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._stopping.set)
        async with asyncio.TaskGroup() as workers:  # one that fails ends the process, and is seen
            for _ in range(WORKERS):
                workers.create_task(self._work())
            await asyncio.gather(*(self._produce(n) for n in range(PRODUCERS)))
            self._say(Ready(skew=skew))
            await self._stopping.wait()
            loop.remove_reader(sys.stdin.fileno())

    def _say(self, said: Said, number: int | None = None, *, refused: bool = False) -> int:
        """At once and whole, so that whoever reads has it even if we are killed now."""
        number = next(self._numbers) if number is None else number
        raw = msgspec.Raw(msgspec.json.encode(said))
        line = Line(number=number, kind=type(said).__name__, said=raw, refused=refused)
        os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")
        return number

    async def _produce(self, producer: int) -> None:
        for batch in range(BATCHES):
            bodies = [
                f"{self._name}:{producer}:{batch}:{n}" for n in range(self._random.randint(1, 3))
            ]
            key = bodies[0] if batch % 3 == 0 else None
            await self._post(bodies, key)
            for queue, ttl, delay in ((LATER, HOUR, DELAY), (PASSING, SHORT_LIFE, NO_GRACE)):
                news = [NewMessage(body=b'"passing by"', ttl=ttl, delay=delay)]
                await self._try_to_add(queue, news)
            await asyncio.sleep(IDLE)

    async def _post(self, bodies: list[str], key: str | None) -> None:
        post = Post(sent=time.monotonic(), queue=WORK.name, bodies=bodies, key=key)
        number = self._say(post)
        news = [NewMessage(body=msgspec.json.encode(body), ttl=HOUR) for body in bodies]
        promise = None if key is None else Idempotency(key, key.encode())
        ids = await self._try_to_add(WORK, news, promise)
        post.ids, post.known, post.ended = ids or [], ids is not None, time.monotonic()
        self._say(post, number)

    async def _try_to_add(
        self, queue: QueueRef, news: list[NewMessage], promise: Idempotency | None = None
    ) -> list[str] | None:
        try:
            now = self._clock.now()
            added = await self._store.messages.add(queue, news, idempotency=promise, now=now)
        except Unavailable:
            return None
        return [str(one) for one in added.ids]

    async def _work(self) -> None:
        while not self._stopping.is_set():
            queue = self._random.choice((WORK, WORK, WORK, LATER, PASSING))
            try:
                found = await self._claim(queue)
            except Unavailable:
                found = None
            if not found:
                await asyncio.sleep(IDLE)

    async def _claim(self, queue: QueueRef) -> bool:
        """Claim something and deal with it; whether there was anything."""
        claim = claim_id(self._random.randbytes(12))
        limit = self._random.randint(1, 5)
        take = Take(
            sent=time.monotonic(),
            queue=queue.name,
            limit=limit,
            is_claim=True,
            claim_id=claim,
            ttl=CLAIM_TTL / 1000,
        )
        number = self._say(take)
        held: list[Message] = []
        try:
            claimed = await self._store.claims.create(
                queue,
                claim_id=claim,
                limit=limit,
                ttl=CLAIM_TTL,
                grace=NO_GRACE,
                dead_letters=RULE if queue == WORK else None,
                now=self._clock.now(),
            )
            held, take.known = claimed.messages, True
        finally:
            take.messages = [(one.id, msgspec.json.decode(one.body, type=str)) for one in held]
            take.ended = time.monotonic()
            self._say(take, number)
        for message in held:
            self._say(handed(queue, claim, message))
        if held:
            await self._deal_with(queue, claim, held)
        return bool(held)

    async def _deal_with(self, queue: QueueRef, claim: str, held: list[Message]) -> None:
        match self._random.choice(("finish", "finish", "finish", "renew", "release", "leave")):
            case "finish":
                await self._finish(queue, claim, held)
            case "renew":
                await self._renew(queue, claim)
                await self._finish(queue, claim, held)
            case "release":
                await self._release(queue, claim)

    async def _finish(self, queue: QueueRef, claim: str, held: list[Message]) -> None:
        for message in held:
            deletion = Deletion(sent=time.monotonic(), message_id=message.id)
            number = self._say(deletion)
            outcome = await self._store.messages.delete(
                queue, message.id, claim_id=claim, now=self._clock.now()
            )
            done = outcome is DeleteOutcome.DELETED
            deletion.known, deletion.ended = done, time.monotonic()
            self._say(deletion, number, refused=not done)

    async def _renew(self, queue: QueueRef, claim: str) -> None:
        renewal = Renewal(sent=time.monotonic(), claim_id=claim, ttl=CLAIM_TTL / 1000)
        number = self._say(renewal)
        now = self._clock.now()
        done = await self._store.claims.renew(queue, claim, ttl=CLAIM_TTL, grace=NO_GRACE, now=now)
        if done:
            self._say(Prolonged(claim_id=claim, until=now + CLAIM_TTL))
        renewal.known, renewal.ended = done, time.monotonic()
        self._say(renewal, number, refused=not done)

    async def _release(self, queue: QueueRef, claim: str) -> None:
        now = self._clock.now()
        release = Release(sent=time.monotonic(), claim_id=claim)
        number = self._say(release)
        self._say(Over(claim_id=claim, at=now))
        await self._store.claims.release(queue, claim, now=now)
        release.known, release.ended = True, time.monotonic()
        self._say(release, number)


def handed(queue: QueueRef, claim: str, message: Message) -> Handed:
    return Handed(
        queue=queue.name,
        message_id=message.id,
        claim_id=claim,
        begins=message.available_at - CLAIM_TTL,
        ends=message.available_at,
        created=message.created_at,
        count=message.claim_count,
    )


@asynccontextmanager
async def opened(url: str, skew: int = 0) -> AsyncIterator[tuple[SharedStore, Clock]]:
    """A store as a node has it open, and the node's clock, on a machine that is so wrong."""
    local = SkewedClock(skew)
    store = await open_by_url(url, now=local.now())
    try:
        assert isinstance(store, SharedStore), "several processes need a store they can share"
        clock = ServerClock(local, store.time)
        await clock.measure()
        measuring = asyncio.create_task(clock.run())
        try:
            yield store, clock
        finally:
            measuring.cancel()
            await asyncio.wait([measuring])
    finally:
        await store.close()


async def main(url: str, name: str, skew: int) -> None:
    async with opened(url, skew) as (store, clock):
        await Worker(store, clock, name).run(skew)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--skew", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.name, arguments.skew))
