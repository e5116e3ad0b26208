"""The stores behind the pools: opened when first used, opened anew when their URI changes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from uuid import uuid4

from msgspec import Struct

from nuska.domain.errors import InvalidInput, NuskaError, Unavailable
from nuska.domain.pools import OWN, Pool
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT, RecordStore
from nuska.interfaces.storage import RandomBytes
from nuska.stores.pooled.catalogue import Catalogue

OpenStore = Callable[[str], Awaitable[PoolableStore]]
"""Opens the store at a URI; ``Unavailable`` or ``ValueError`` when that cannot be."""

POOLS_KNOWN_FOR = 2.0
"""Seconds for which what was read about pools is used without looking again."""
RETRY_AFTER = 1.0
"""Seconds before a store that could not be opened is tried again."""
OPENING_AT_MOST = 10.0
"""Seconds; a store that takes longer to open counts as down."""
TICKET_BYTES = 8
IDENTITY = "identity"

logger = logging.getLogger("nuska.stores.pooled")


class Opened(Struct):
    """A store that is open, and what for."""

    uri: str
    store: PoolableStore


class Pools:
    """Every pool of a catalogue."""

    def __init__(
        self,
        own: PoolableStore,
        catalogue: Catalogue,
        open_store: OpenStore,
        random_bytes: RandomBytes,
        *,
        fall_back: bool,
    ) -> None:
        """``fall_back``: a queue for which there is no pool lies in the ``own`` store."""
        self.own = own
        self._catalogue = catalogue
        self._open_store = open_store
        self._random_bytes = random_bytes
        self._fall_back = fall_back
        self._known: dict[str, Pool] = {}
        self._known_until = 0.0
        self._opened: dict[str, Opened] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._own_identity = ""
        self.answered: dict[str, bool] = {}
        """Whether the pool answered when it was last looked at (``looked_at``)."""

    def looked_at(self, name: str, *, answers: bool) -> None:
        """Note whether a pool answers, for whoever asks about it."""
        self.answered[name] = answers

    async def known(self, *, afresh: bool = False) -> dict[str, Pool]:
        """The pools by name, as they were lately, or, ``afresh``, as they are."""
        now = asyncio.get_running_loop().time()
        if not afresh and now < self._known_until:
            return self._known
        try:
            found = await self._catalogue.pools()
        except Unavailable:
            if afresh or not self._known:
                raise
            # Queues in pools do not stop because the catalogue's store does.
            self._known_until = now + POOLS_KNOWN_FOR
            return self._known
        self._known = {pool.name: pool for pool in found}
        self._known_until = now + POOLS_KNOWN_FOR
        await self._close_strangers()
        return self._known

    async def store(self, name: str) -> PoolableStore:
        """The store of a pool; ``Unavailable`` when it is down, or there is no such pool."""
        if name == OWN:
            return self.own
        pool = (await self.known()).get(name) or (await self.known(afresh=True)).get(name)
        if pool is None:
            raise Unavailable(f"There is no pool {name} any more, and a queue lies in it.")
        opened = self._opened.get(name)
        if opened is not None and opened.uri == pool.uri:
            return opened.store
        async with self._opening.setdefault(name, asyncio.Lock()):
            opened = self._opened.get(name)
            if opened is not None and opened.uri == pool.uri:
                return opened.store
            return await self._open(pool)

    async def _open(self, pool: Pool) -> PoolableStore:
        now = asyncio.get_running_loop().time()
        again, uri = self._failed.get(pool.name, (0.0, ""))
        if now < again and uri == pool.uri:
            raise Unavailable(f"The pool {pool.name} cannot be reached.")
        before = self._opened.pop(pool.name, None)
        if before is not None:
            await before.store.close()
        try:
            store = await self.try_out(pool.uri)
        except (Unavailable, InvalidInput) as error:
            again = asyncio.get_running_loop().time() + RETRY_AFTER
            self._failed[pool.name] = (again, pool.uri)
            raise Unavailable(f"The pool {pool.name} cannot be reached.") from error
        self._opened[pool.name] = Opened(pool.uri, store)
        return store

    async def _is_own(self, store: PoolableStore) -> bool:
        """Whether the store is the catalogue's own, by whatever name it was reached."""
        if not self._own_identity:
            self._own_identity = await identity_of(self.own.records)
        return await identity_of(store.records) == self._own_identity

    async def try_out(self, uri: str) -> PoolableStore:
        """Open the store at ``uri``; the caller closes it. ``InvalidInput`` if it can be no
        pool, ``Unavailable`` if it cannot be reached."""
        try:
            async with asyncio.timeout(OPENING_AT_MOST):
                store = await self._open_store(uri)
                if self.own.capabilities.shared and not store.capabilities.shared:
                    await store.close()
                    raise InvalidInput(
                        "Only one process can open that store, and others share this catalogue."
                    )
                if await self._is_own(store):
                    await store.close()
                    raise InvalidInput("That is the store which keeps the catalogue itself.")
        except TimeoutError as error:
            raise Unavailable("The store at the pool's uri does not answer.") from error
        except ValueError as error:
            raise InvalidInput(f"The pool's uri cannot be opened: {error}") from error
        return store

    async def choose(self, flavor: str | None, down: Collection[str] = ()) -> str:
        """The pool for a new queue, by weight, and none of those that are ``down``;
        ``InvalidInput`` for an unknown flavor."""
        pools = [pool for pool in (await self.known()).values() if pool.flavor == flavor]
        if flavor is not None and not pools:
            pools = [p for p in (await self.known(afresh=True)).values() if p.flavor == flavor]
            if not pools:
                raise InvalidInput(f"There is no flavor named {flavor}.")
        eligible = [pool for pool in pools if pool.weight > 0]
        up = [pool for pool in eligible if pool.name not in down]
        if up:
            return self._by_weight(up)
        if eligible:
            raise Unavailable("No pool that a new queue could lie in can be reached.")
        if flavor is None and self._fall_back:
            return OWN
        raise Unavailable("There is no pool that a new queue could lie in.")

    def _by_weight(self, pools: list[Pool]) -> str:
        total = sum(pool.weight for pool in pools)
        ticket = int.from_bytes(self._random_bytes(TICKET_BYTES)) % total
        for pool in pools:
            ticket -= pool.weight
            if ticket < 0:
                return pool.name
        raise AssertionError("a ticket is below the sum of the weights")

    async def takes(self, name: str) -> bool:
        """Whether new queues may lie there at this very moment."""
        if name == OWN:
            return True
        pool = await self._catalogue.pool(name)
        return pool is not None and pool.weight > 0

    async def flavor_of(self, name: str) -> str | None:
        pool = (await self.known()).get(name)
        return None if pool is None else pool.flavor

    @property
    def open_now(self) -> dict[str, PoolableStore]:
        """The stores in use, the own one too."""
        return {OWN: self.own, **{name: one.store for name, one in self._opened.items()}}

    async def _close_strangers(self) -> None:
        """Close stores of pools that were removed, and forget whether they answered."""
        self.answered = {name: up for name, up in self.answered.items() if name in self._known}
        for name in [name for name in self._opened if name not in self._known]:
            opened = self._opened.pop(name, None)
            if opened is not None:  # else somebody who looked at the same time closes it
                await opened.store.close()

    async def close(self) -> None:
        while self._opened:
            _, opened = self._opened.popitem()
            await opened.store.close()
        await self.own.close()


def why(error: NuskaError) -> str:
    """An error with what caused it, for operators."""
    cause = error.__cause__
    more = f" {cause.description}" if isinstance(cause, NuskaError) else ""
    return error.description + more


async def identity_of(records: RecordStore) -> str:
    """A name that tells the store from every other, given to it when it is first asked."""
    while True:
        record = await records.get(IDENTITY, IDENTITY)
        if record is not None:
            return record.value.decode()
        await records.put(IDENTITY, IDENTITY, str(uuid4()).encode(), version=ABSENT)


def same_kind(one: PoolableStore, other: PoolableStore) -> None:
    """Pools of a flavor can do the same (contract storage §2); else ``InvalidInput``."""
    if one.capabilities.names != other.capabilities.names:
        raise InvalidInput(
            "The pool's store can not do the same as the other pools of the flavor: "
            f"{', '.join(sorted(one.capabilities.names))} is not "
            f"{', '.join(sorted(other.capabilities.names))}."
        )
