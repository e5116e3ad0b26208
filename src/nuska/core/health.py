"""Whether the service works: a ping of the store, and a canary that really does the work.

The canary posts, claims, lists and deletes in a project of a random name that no caller can
have, and removes what it made. It runs at most once at a time and at most once in
``CANARY_LIFETIME``: whoever asks in between gets the last answer, so asking often costs nothing.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.domain.errors import NuskaError, Unavailable
from nuska.domain.limits import MIN_CLAIM_TTL, MIN_MESSAGE_TTL
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.pools import CATALOG_STORE, OWN
from nuska.domain.positions import BEFORE_ALL, CLAIM_ID_BYTES, claim_id
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.pooling import Placement
from nuska.interfaces.storage import RandomBytes, Store

CANARY_LIFETIME = 10.0
"""Seconds for which a canary's findings stand."""
CANARY_MESSAGES = 100
DIGITS = 6
"""Of seconds behind the point: microseconds."""
OPERATIONS = (
    "create_queue",
    "post_messages",
    "claim_messages",
    "list_messages",
    "delete_messages",
    "delete_claim",
    "bulk_delete_messages",
    "delete_queue",
)
_CANARY_BODY = b'{"canary": true}'
_CANARY_QUEUE = "canary"
_PROJECT_BYTES = 16

log = structlog.get_logger("nuska.health")


class Finding(Struct, frozen=True):
    """How one operation went."""

    succeeded: bool
    seconds: float
    ref: str | None = None
    """Names the log entry of a failure."""


class Findings(Struct, frozen=True, omit_defaults=True):
    """What the canary found."""

    storage_reachable: bool
    operation_status: dict[str, Finding]
    missing_encryption_keys: list[str] = []
    """The operator's keys that something encrypted here needs, by name; with pools in the
    findings about all of them."""


class PooledFindings(Struct, frozen=True):
    """What the canaries of all pools found, and that of the catalogue's own store."""

    catalog_reachable: bool
    pools: dict[str, Findings]
    missing_encryption_keys: list[str] = []


class HealthService:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        random_bytes: RandomBytes,
        placement: Placement | None = None,
        missing_keys: Callable[[], Awaitable[list[str]]] | None = None,
    ) -> None:
        """With ``placement``, every pool has a canary of its own. ``missing_keys`` names the
        operator's encryption keys that are needed and not there; None where none can be."""
        self._store = store
        self._placement = placement
        self._missing_keys = missing_keys
        self._clock = clock
        self._random_bytes = random_bytes
        self._one_at_a_time = asyncio.Lock()
        self._last: tuple[float, Findings | PooledFindings] | None = None

    async def ping(self) -> None:
        """Return if the store answers; else raise ``Unavailable``. Anybody may ask."""
        await self._store.ping()

    async def check(self, caller: Caller) -> Findings | PooledFindings:
        """The canary's findings, at most ``CANARY_LIFETIME`` old."""
        allow(caller, "health:get")
        async with self._one_at_a_time:
            now = asyncio.get_running_loop().time()
            if self._last is None or now - self._last[0] >= CANARY_LIFETIME:
                self._last = (now, await self._look())
            return self._last[1]

    async def missing_keys(self) -> list[str]:
        """For who runs the service; nothing, while the store does not say."""
        if self._missing_keys is None:
            return []
        try:
            return await self._missing_keys()
        except Unavailable:
            return []

    async def _look(self) -> Findings | PooledFindings:
        return replace(await self._tried(), missing_encryption_keys=await self.missing_keys())

    async def _tried(self) -> Findings | PooledFindings:
        if self._placement is None:
            return await self._run(self._store)
        if not await self._placement.catalogue_answers():
            return PooledFindings(False, {})
        stores = await self._placement.stores()
        findings = await asyncio.gather(*(self._look_at(store) for store in stores.values()))
        names = [CATALOG_STORE if name == OWN else name for name in stores]
        return PooledFindings(True, dict(zip(names, findings, strict=True)))

    async def _look_at(self, store: Store | None) -> Findings:
        if store is None:
            return Findings(False, {name: Finding(False, 0.0) for name in OPERATIONS})
        return await self._run(store)

    async def _run(self, store: Store) -> Findings:
        try:
            await store.ping()
        except NuskaError:
            reachable = False
        else:
            reachable = True
        project = f"canary-{self._random_bytes(_PROJECT_BYTES).hex()}"
        canary = _Canary(store, self._clock, QueueRef(project, _CANARY_QUEUE))
        claim = claim_id(self._random_bytes(CLAIM_ID_BYTES))
        return Findings(reachable, {name: await _try(step) for name, step in canary.steps(claim)})


class _Canary:
    """The steps, each of which needs what the ones before it left behind."""

    def __init__(self, store: Store, clock: Clock, queue: QueueRef) -> None:
        self._store = store
        self._clock = clock
        self._queue = queue
        self._ids: list[str] = []

    def steps(self, claim: str) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        messages, claims, queue = self._store.messages, self._store.claims, self._queue
        now = self._clock.now
        return [
            ("create_queue", lambda: self._store.queues.create(queue, {}, now=now())),
            ("post_messages", self._post),
            (
                "claim_messages",
                lambda: claims.create(
                    queue,
                    claim_id=claim,
                    limit=CANARY_MESSAGES // 2,
                    ttl=seconds(MIN_CLAIM_TTL),
                    grace=seconds(0),
                    now=now(),
                ),
            ),
            (
                "list_messages",
                lambda: messages.page(queue, after=BEFORE_ALL, limit=CANARY_MESSAGES, now=now()),
            ),
            ("delete_messages", lambda: self._delete_one(claim)),
            ("delete_claim", lambda: claims.release(queue, claim, now=now())),
            (
                "bulk_delete_messages",
                lambda: messages.delete_many(queue, self._ids, now=now()),
            ),
            ("delete_queue", lambda: self._store.queues.delete(queue, now=now())),
        ]

    async def _post(self) -> None:
        new = NewMessage(body=_CANARY_BODY, ttl=seconds(MIN_MESSAGE_TTL))
        added = await self._store.messages.add(
            self._queue, [new] * CANARY_MESSAGES, now=self._clock.now()
        )
        self._ids = list(added.ids)

    async def _delete_one(self, claim: str) -> None:
        await self._store.messages.delete(
            self._queue, self._ids[0], claim_id=claim, now=self._clock.now()
        )


async def _try(step: Callable[[], Awaitable[object]]) -> Finding:
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        await step()
    except Exception:
        # The whole point is to report whatever goes wrong, under a reference into the log.
        ref = str(uuid.uuid4())
        log.exception("a step of the health check failed", ref=ref)
        return Finding(False, _shown(loop.time() - started), ref)
    return Finding(True, _shown(loop.time() - started))


def _shown(seconds: float) -> float:
    return round(seconds, DIGITS)
