"""One queue of a store in a test's hands: short verbs, so that tests read as sentences.

Every verb takes what its test is about and fills in the rest; none of them checks
anything. Knows no driver.
"""

from collections.abc import Sequence

import msgspec
import pytest

from nuska.domain.claims import Claim, Claimed, DeadLetterRule
from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.moments import Duration, Moment, seconds
from nuska.domain.positions import BEFORE_ALL, MessageId, Position, claim_id
from nuska.domain.queues import Stats
from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock

MINUTE = seconds(60)
HOUR = seconds(3600)
NOTHING = Duration(0)
PLENTY = 1000
"""More than any test stores in one queue unless it says so."""
SWEEPS_AT_MOST = 10_000
"""A sweep that still finds work after so many steps never ends."""

UNKNOWN_CLAIM = "0123456789abcdef01234567"
MALFORMED = ["", "x", "nonsense", "é" * 24, "0" * 23, "%", "'", "\x00", "z" * 32, "-1", "9" * 5000]
"""What callers send where an id belongs."""


class Inbox:
    """A queue, called ``inbox`` of project ``acme`` unless told otherwise."""

    def __init__(
        self, store: Store, clock: ManualClock, name: str = "inbox", project: str = "acme"
    ) -> None:
        self.store = store
        self.clock = clock
        self.ref = QueueRef(project, name)

    def beside(self, name: str | None = None, project: str | None = None) -> "Inbox":
        """Another queue of the same store."""
        name = self.ref.name if name is None else name
        project = self.ref.project if project is None else project
        return Inbox(self.store, self.clock, name, project)

    def after_reopening(self, store: Store) -> "Inbox":
        """The same queue, in the store as it was opened again."""
        return Inbox(store, self.clock, self.ref.name, self.ref.project)

    @property
    def now(self) -> Moment:
        return self.clock.now()

    async def add(
        self,
        *bodies: str,
        ttl: Duration = HOUR,
        delay: Duration = NOTHING,
        poster: bytes = b"",
        attributes: bytes | None = None,
        key: str | None = None,
        fingerprint: bytes = b"same",
    ) -> Added:
        news = [
            NewMessage(body=text(body), ttl=ttl, delay=delay, attributes=attributes)
            for body in bodies
        ]
        promise = None if key is None else Idempotency(key, fingerprint)
        return await self.store.messages.add(
            self.ref, news, poster=poster, idempotency=promise, now=self.now
        )

    async def post(
        self,
        *bodies: str,
        ttl: Duration = HOUR,
        delay: Duration = NOTHING,
        poster: bytes = b"",
    ) -> list[MessageId]:
        return (await self.add(*bodies, ttl=ttl, delay=delay, poster=poster)).ids

    async def page(
        self,
        *,
        after: Position = BEFORE_ALL,
        limit: int = PLENTY,
        hide_poster: bytes | None = None,
        include_claimed: bool = False,
        include_delayed: bool = False,
    ) -> Page:
        return await self.store.messages.page(
            self.ref,
            after=after,
            limit=limit,
            hide_poster=hide_poster,
            include_claimed=include_claimed,
            include_delayed=include_delayed,
            now=self.now,
        )

    async def listed(self, *, after: Position = BEFORE_ALL, limit: int = PLENTY) -> list[str]:
        """Bodies of the available messages."""
        return bodies((await self.page(after=after, limit=limit)).messages)

    async def all(self) -> list[Message]:
        """Available, claimed and delayed messages."""
        page = await self.page(include_claimed=True, include_delayed=True)
        return page.messages

    async def get(self, *ids: str) -> list[Message]:
        return await self.store.messages.get(self.ref, ids, now=self.now)

    async def one(self, message_id: str) -> Message:
        """The message, which must exist."""
        [message] = await self.get(message_id)
        return message

    async def delete(self, message_id: str, claim: int | str | None = None) -> DeleteOutcome:
        named = None if claim is None else named_claim(claim)
        return await self.store.messages.delete(self.ref, message_id, claim_id=named, now=self.now)

    async def delete_many(self, *ids: str, claims: Sequence[int | str] | None = None) -> bool:
        named = None if claims is None else [named_claim(claim) for claim in claims]
        return await self.store.messages.delete_many(self.ref, ids, claim_ids=named, now=self.now)

    async def pop(self, limit: int = PLENTY) -> list[Message]:
        return await self.store.messages.pop(self.ref, limit=limit, now=self.now)

    async def put_back(self, popped: Sequence[Message]) -> None:
        await self.store.messages.put_back(self.ref, popped, now=self.now)

    async def next_due(self) -> Moment | None:
        return await self.store.messages.next_due(self.ref, now=self.now)

    async def claiming(
        self,
        claim: int | str = 1,
        *,
        limit: int = PLENTY,
        ttl: Duration = MINUTE,
        grace: Duration = MINUTE,
        dead_letters: DeadLetterRule | None = None,
    ) -> Claimed:
        return await self.store.claims.create(
            self.ref,
            claim_id=named_claim(claim),
            limit=limit,
            ttl=ttl,
            grace=grace,
            dead_letters=dead_letters,
            now=self.now,
        )

    async def claim(
        self,
        claim: int | str = 1,
        *,
        limit: int = PLENTY,
        ttl: Duration = MINUTE,
        grace: Duration = MINUTE,
        dead_letters: DeadLetterRule | None = None,
    ) -> list[Message]:
        claimed = await self.claiming(
            claim, limit=limit, ttl=ttl, grace=grace, dead_letters=dead_letters
        )
        return claimed.messages

    async def held(self, claim: int | str = 1) -> Claim | None:
        return await self.store.claims.get(self.ref, named_claim(claim), now=self.now)

    async def renew(
        self, claim: int | str = 1, *, ttl: Duration = MINUTE, grace: Duration = MINUTE
    ) -> bool:
        return await self.store.claims.renew(
            self.ref, named_claim(claim), ttl=ttl, grace=grace, now=self.now
        )

    async def release(self, claim: int | str = 1, *, uncount: bool = False) -> int:
        return await self.store.claims.release(
            self.ref, named_claim(claim), uncount=uncount, now=self.now
        )

    async def stats(self) -> Stats:
        return await self.store.queues.stats(self.ref, now=self.now)

    async def counts(self) -> tuple[int, int, int]:
        """Ready, delayed, claimed."""
        stats = await self.stats()
        return stats.ready, stats.delayed, stats.claimed

    async def purge(self) -> None:
        await self.store.queues.purge(self.ref, now=self.now)

    async def drop(self) -> None:
        """Delete the queue."""
        await self.store.queues.delete(self.ref, now=self.now)

    async def exists(self) -> bool:
        return await self.store.queues.get(self.ref) is not None

    def rule(self, max_claims: int, ttl: Duration | None = None) -> DeadLetterRule:
        """A dead-letter rule that names this queue."""
        return DeadLetterRule(max_claims=max_claims, queue=self.ref, ttl=ttl)


class Conformance:
    """Fixtures of every part of the suite; a driver's tests provide ``store``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def inbox(self, store: Store, clock: ManualClock) -> Inbox:
        return Inbox(store, clock)


def named_claim(claim: int | str) -> str:
    """The id of the test's claim number ``claim``; text stands for itself."""
    return claim if isinstance(claim, str) else claim_id(claim.to_bytes(12))


def text(body: str) -> bytes:
    """``body`` as a JSON string."""
    return msgspec.json.encode(body)


def bodies(messages: Sequence[Message]) -> list[str]:
    return [msgspec.json.decode(message.body, type=str) for message in messages]


async def sweep_all(store: Store, clock: ManualClock) -> tuple[int, set[QueueRef]]:
    """Sweep until there is nothing more; what was removed, and the queues reported due."""
    removed, due = 0, set[QueueRef]()
    for _ in range(SWEEPS_AT_MOST):
        report = await store.sweep(now=clock.now())
        removed += report.removed
        due.update(report.due)
        if not report.more:
            return removed, due
    raise AssertionError(f"sweeping had not ended after {SWEEPS_AT_MOST} steps")
