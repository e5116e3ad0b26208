"""The stores behind the pools: opened when first used, opened anew when their URI changes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4
from weakref import WeakValueDictionary

from msgspec import Struct

from nuska.domain.errors import InvalidInput, NuskaError, Unavailable
from nuska.domain.pools import OWN, Pool
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT, RecordStore
from nuska.interfaces.storage import Capabilities, RandomBytes
from nuska.stores.pooled.catalogue import Catalogue
from nuska.stores.pooled.turns import Turns

OpenStore = Callable[[str], Awaitable[PoolableStore]]
"""Opens the store at a URI; ``Unavailable`` or ``ValueError`` when that cannot be."""

POOLS_KNOWN_FOR = 2.0
"""Seconds for which what was read about pools is used without looking again."""
RETRY_AFTER = 1.0
"""Seconds before a store that could not be opened is tried again."""
OPENING_AT_MOST = 10.0
"""Seconds, those too that are spent waiting for others who open or close the store; one that takes
longer to open counts as down."""
TICKET_BYTES = 8
IDENTITY = "identity"


PlaceOf = Callable[[str], str]
"""What is the same for every way to write the URI of a store, as far as that can be told without
opening it."""


class Opened(Struct):
    """A store that is open, and what for."""

    uri: str
    place: str
    """Of the URI, when it was opened."""
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
        place_of: PlaceOf,
    ) -> None:
        """``fall_back``: a queue for which there is no pool lies in the ``own`` store."""
        self.own = own
        self._catalogue = catalogue
        self._open_store = open_store
        self._random_bytes = random_bytes
        self._fall_back = fall_back
        self.place_of = place_of
        self._known: dict[str, Pool] = {}
        self._known_until = 0.0
        self._readings = 0
        self._taken = 0
        """Which of the readings of the catalogue ``_known`` is."""
        self._opened: dict[str, Opened] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._opening: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._turns = Turns()
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
        self._readings += 1
        reading = self._readings
        try:
            found = await self._catalogue.pools()
        except Unavailable:
            if afresh or not self._known:
                raise
            # Queues in pools do not stop because the catalogue's store does.
            self._known_until = now + POOLS_KNOWN_FOR
            return self._known
        if reading > self._taken:  # else one that began later has been faster
            self._taken = reading
            self._known = {pool.name: pool for pool in found}
            self._known_until = now + POOLS_KNOWN_FOR
            self._close_strangers()
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
            self._turns.close(before.place, before.store)
        async with AsyncExitStack() as turn:
            try:
                place = self.place_of(pool.uri)
                store = await self._take(pool.uri, place, turn)
            except (Unavailable, InvalidInput) as error:
                again = asyncio.get_running_loop().time() + RETRY_AFTER
                self._failed[pool.name] = (again, pool.uri)
                raise Unavailable(f"The pool {pool.name} cannot be reached.") from error
            self._opened[pool.name] = Opened(pool.uri, place, store)
        return store

    @asynccontextmanager
    async def trial(self, uri: str) -> AsyncIterator[PoolableStore]:
        """The store at ``uri``, open within the block. ``InvalidInput`` if it can be no pool,
        ``Unavailable`` if it cannot be reached. The block must not open another."""
        async with AsyncExitStack() as turn:
            place = self.place_of(uri)
            store = await self._take(uri, place, turn)
            try:
                yield store
            finally:
                self._turns.close(place, store)
                await self._turns.closed(place)

    async def closed(self, uri: str) -> None:
        """The store at ``uri``, which was a pool's, is open no more."""
        await self._turns.closed(self.place_of(uri))

    async def _take(self, uri: str, place: str, turn: AsyncExitStack) -> PoolableStore:
        """Open the store at ``uri`` when it is our turn, which ends with ``turn``."""
        try:
            async with asyncio.timeout(OPENING_AT_MOST):
                await turn.enter_async_context(self._turns.at(place))
                self._close_strangers()
                await self._turns.closed(place)
                store = await self._open_store(uri)
                try:
                    await self._check_fit(store)
                except BaseException:
                    self._turns.close(place, store)
                    raise
        except TimeoutError as error:
            raise Unavailable("The store at the pool's uri does not answer.") from error
        except ValueError as error:
            raise InvalidInput(f"The pool's uri cannot be opened: {error}") from error
        return store

    async def _check_fit(self, store: PoolableStore) -> None:
        if self.own.capabilities.shared and not store.capabilities.shared:
            raise InvalidInput(
                "Only one process can open that store, and others share this catalogue."
            )
        if await self._is_own(store):
            raise InvalidInput("That is the store which keeps the catalogue itself.")

    async def _is_own(self, store: PoolableStore) -> bool:
        """Whether the store is the catalogue's own, by whatever name it was reached."""
        if not self._own_identity:
            self._own_identity = await identity_of(self.own.records)
        return await identity_of(store.records) == self._own_identity

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

    def _close_strangers(self) -> None:
        """Close stores that pools are no more, and forget whether removed pools answered."""
        self.answered = {name: up for name, up in self.answered.items() if name in self._known}
        for name, opened in list(self._opened.items()):
            pool = self._known.get(name)
            if pool is None or pool.uri != opened.uri:
                del self._opened[name]
                self._turns.close(opened.place, opened.store)

    async def close(self) -> None:
        while self._opened:
            _, opened = self._opened.popitem()
            self._turns.close(opened.place, opened.store)
        await self._turns.all_closed()
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


def same_kind(one: Capabilities, other: Capabilities) -> None:
    """Pools of a flavor can do the same (contract storage §2); else ``InvalidInput``."""
    if one.names != other.names:
        raise InvalidInput(
            "The pool's store can not do the same as the other pools of the flavor: "
            f"{', '.join(sorted(one.names))} is not {', '.join(sorted(other.names))}."
        )
