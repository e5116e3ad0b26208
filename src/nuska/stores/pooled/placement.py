"""Pools and flavors as an operator changes them; see ``interfaces.pooling.Placement``."""

import msgspec
from msgspec.structs import replace

from nuska.domain.errors import Conflict, InvalidInput, NotFound, OnlyPool, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.pools import OWN, Carriage, Flavor, Pool, Whereabouts
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, Record
from nuska.interfaces.storage import Capabilities, Store
from nuska.stores.pooled.carrying import Carriages
from nuska.stores.pooled.catalogue import DRAINS, FLAVORS, MOVES, POOLS, key_of
from nuska.stores.pooled.letters import Letters
from nuska.stores.pooled.moving import Mover
from nuska.stores.pooled.placing import Placing
from nuska.stores.pooled.pools import identity_of, same_kind
from nuska.stores.pooled.subscribers import subscriptions_of

ATTEMPTS = 20
"""How often a change is tried again when others change the same pool."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Pool).decode


class PooledPlacement:
    """``Placement`` over a catalogue."""

    def __init__(self, placing: Placing, mover: Mover, letters: Letters, clock: Clock) -> None:
        self._placing = placing
        self._pools = placing.pools
        self._catalogue = placing.catalogue
        self._records = placing.catalogue.records
        self._mover = mover
        self._letters = letters
        self._clock = clock
        self.carriages = Carriages(placing, mover, clock)

    async def pool(self, name: str) -> Pool | None:
        return await self._catalogue.pool(name)

    async def pools(self, *, after: str, limit: int) -> list[Pool]:
        records = await self._records.page(POOLS, after=after, limit=limit)
        return [_decode(record.value) for record in records]

    async def put_pool(self, pool: Pool) -> None:
        known = await self._pools.known(afresh=True)
        for other in known.values():  # before a store that is in use is opened again
            _refuse_second(pool, other, self._at_same_place(pool, other))
        identity = await self._fit(pool, known.get(pool.name))
        for other in await self._catalogue.pools():
            same_store = other.identity == identity or self._at_same_place(pool, other)
            _refuse_second(pool, other, same_store)
        await self._check_same_store(pool, identity)
        pool = replace(pool, identity=identity)
        for _ in range(ATTEMPTS):
            record = await self._records.get(POOLS, pool.name)
            version = ABSENT if record is None else record.version
            if await self._records.put(POOLS, pool.name, _encode(pool), version=version):
                await self._pools.known(afresh=True)
                return
        raise Unavailable("The pool keeps changing under this update.")

    async def _fit(self, pool: Pool, before: Pool | None) -> str:
        """Which store is at the pool's URI; ``InvalidInput`` if it can not be this pool."""
        try:
            if before is not None and self._at_same_place(pool, before):
                store = await self._pools.store(pool.name)
                identity = await identity_of(store.records)
            else:
                async with self._pools.trial(pool.uri) as store:
                    identity = await identity_of(store.records)
        except Unavailable as error:
            raise InvalidInput(f"The pool's uri cannot be opened: {error.description}") from error
        await self._check_kind(pool, store.capabilities)
        return identity

    def _at_same_place(self, one: Pool, other: Pool) -> bool:
        place_of = self._pools.place_of
        return one.uri == other.uri or place_of(one.uri) == place_of(other.uri)

    async def _check_same_store(self, pool: Pool, identity: str) -> None:
        """Queues would be left behind in the store that the pool was."""
        before = await self._catalogue.pool(pool.name)
        if before is None or before.uri == pool.uri or before.identity in ("", identity):
            return
        if await self._is_meant(pool.name):
            raise Conflict(
                f"Another store is at that uri, and queues lie in the pool {pool.name}. "
                f"Move them first: nuska pool drain {pool.name}."
            )

    async def _check_kind(self, pool: Pool, capabilities: Capabilities) -> None:
        if pool.flavor is None:
            return
        for other in await self._catalogue.pools():
            if other.flavor == pool.flavor and other.name != pool.name:
                same_kind(capabilities, (await self._pools.store(other.name)).capabilities)
                return

    async def remove_pool(self, name: str) -> None:
        pool = await self._catalogue.pool(name)
        if pool is None:
            return
        flavor = pool.flavor
        if flavor is not None and await self._of_flavor(flavor) == [name]:
            raise OnlyPool(f"{name} is the only pool of the flavor {flavor}.")
        await self._change(name, weight=0)
        try:
            await self._empty(name, flavor)
        except BaseException:
            await self._change(name, weight=pool.weight)
            raise
        record = await self._records.get(POOLS, name)
        if record is not None:
            await self._records.remove(POOLS, name, version=record.version)
            if await self._is_meant(name):  # a move to it began when it was found empty
                back = _encode(replace(_decode(record.value), weight=pool.weight))
                await self._records.put(POOLS, name, back, version=ABSENT)
                await self._pools.known(afresh=True)
                raise Conflict(f"A queue is being moved to the pool {name}.")
        await self._pools.known(afresh=True)
        await self._pools.closed(pool.uri)

    async def _is_meant(self, name: str) -> bool:
        """Whether any queue lies in the pool, or is on its way to it."""
        async for queue in self._catalogue.in_pool(name):
            seen = await self._catalogue.pin(queue)
            if seen is not None and name in (seen.pin.pool, seen.pin.target):
                return True
        return False

    async def _empty(self, name: str, flavor: str | None) -> None:
        """Place queues that hold nothing anew; ``Conflict`` when others hold something."""
        holding = messages = subscriptions = 0
        async for queue in self._catalogue.in_pool(name):
            if await self._lies_in(queue, name):
                held = await self._held(queue)
                told = await subscriptions_of(self._records, queue, self._clock.now())
                holding += held + told > 0
                messages += held
                subscriptions += told
        if holding:
            also = f" and {subscriptions} subscriptions" if subscriptions else ""
            raise Conflict(
                f"{messages} messages{also} lie in the pool {name}, queues that hold some: "
                f"{holding}. Move them first: nuska pool drain {name}."
            )
        async for queue in self._catalogue.in_pool(name):
            if await self._lies_in(queue, name):
                await self._mover.move(queue, await self._pools.choose(flavor))
            else:
                await self._catalogue.unlist(name, queue)
        await self._letters.empty_boxes(name)

    async def _held(self, queue: QueueRef) -> int:
        stats = await self._placing.use(
            queue,
            lambda store: store.queues.stats(queue, now=self._clock.now()),
            otherwise=None,
        )
        return 0 if stats is None else stats.ready + stats.delayed + stats.claimed

    async def _lies_in(self, queue: QueueRef, pool: str) -> bool:
        self._placing.drop(queue)
        pin = await self._placing.pin(queue)
        return pin is not None and pin.pool == pool

    async def pool_capabilities(self, name: str) -> frozenset[str]:
        return (await self._pools.store(name)).capabilities.names

    async def flavor(self, name: str) -> Flavor | None:
        pools = await self._of_flavor(name)
        if not pools and await self._records.get(FLAVORS, name) is None:
            return None
        return Flavor(name=name, pools=tuple(pools))

    async def flavors(self, *, after: str, limit: int) -> list[Flavor]:
        pools = await self._catalogue.pools()
        records = await self._records.page(FLAVORS, after=after, limit=limit)
        names = {record.key for record in records}
        names |= {pool.flavor for pool in pools if pool.flavor is not None and pool.flavor > after}
        return [
            Flavor(name=name, pools=tuple(pool.name for pool in pools if pool.flavor == name))
            for name in sorted(names)[:limit]
        ]

    async def put_flavor(self, flavor: Flavor) -> None:
        known = {pool.name: pool for pool in await self._catalogue.pools()}
        unknown = [name for name in flavor.pools if name not in known]
        if unknown:
            raise InvalidInput(f"There is no pool named {unknown[0]}.")
        stores = [await self._pools.store(name) for name in flavor.pools]
        for store in stores[1:]:
            same_kind(store.capabilities, stores[0].capabilities)
        record = await self._records.get(FLAVORS, flavor.name)
        if record is None:
            await self._records.put(FLAVORS, flavor.name, b"{}", version=ABSENT)
        for name, pool in known.items():
            if name in flavor.pools and pool.flavor != flavor.name:
                await self._change(name, flavor=flavor.name)
            elif name not in flavor.pools and pool.flavor == flavor.name:
                await self._change(name, flavor=None)
        await self._pools.known(afresh=True)

    async def remove_flavor(self, name: str) -> None:
        for pool in await self._of_flavor(name):
            await self._change(pool, flavor=None)
        record = await self._records.get(FLAVORS, name)
        if record is not None:
            await self._records.remove(FLAVORS, name, version=record.version)
        await self._pools.known(afresh=True)

    async def _of_flavor(self, flavor: str) -> list[str]:
        return [pool.name for pool in await self._catalogue.pools() if pool.flavor == flavor]

    async def _change(self, name: str, **changes: object) -> None:
        """Change some fields of a pool that may have gone meanwhile."""
        for _ in range(ATTEMPTS):
            record: Record | None = await self._records.get(POOLS, name)
            if record is None:
                return
            changed = replace(_decode(record.value), **changes)
            if await self._records.put(POOLS, name, _encode(changed), version=record.version):
                await self._pools.known(afresh=True)
                return
        raise Unavailable("The pool keeps changing under this update.")

    async def whereabouts(self, queue: QueueRef) -> Whereabouts | None:
        self._placing.drop(queue)
        pin = await self._placing.pin(queue)
        return None if pin is None else Whereabouts(pin.pool, pin.target)

    async def start_move(self, queue: QueueRef, target: str) -> None:
        if await self._catalogue.pool(target) is None:
            raise InvalidInput(f"There is no pool named {target}.")
        self._placing.drop(queue)
        pin = await self._placing.pin(queue)
        if pin is None:
            raise NotFound(f"There is no queue named {queue.name}.")
        await self.carriages.start(MOVES, key_of(queue), pin.pool, target)

    async def move_of(self, queue: QueueRef) -> Carriage | None:
        return await self.carriages.state(MOVES, key_of(queue))

    async def start_drain(self, pool: str, target: str | None) -> None:
        drained = await self._catalogue.pool(pool)
        if drained is None:
            raise NotFound(f"There is no pool named {pool}.")
        if target is not None and (target == pool or await self._catalogue.pool(target) is None):
            raise InvalidInput(f"There is no other pool named {target}.")
        if target is not None:
            there = await self.drain_of(target)
            if there is not None and there.state in ("waiting", "running"):
                raise Conflict(f"The pool {target} is itself being drained.")
        await self._change(pool, weight=0)
        if target is None:
            try:
                await self._pools.choose(drained.flavor)
            except Unavailable as error:
                await self._change(pool, weight=drained.weight)
                raise Conflict("There is no other pool that its queues could lie in.") from error
        await self.carriages.start(DRAINS, pool, pool, target)

    async def drain_of(self, pool: str) -> Carriage | None:
        return await self.carriages.state(DRAINS, pool)

    async def stores(self) -> dict[str, Store | None]:
        stores: dict[str, Store | None] = {OWN: self._pools.own}
        for name in await self._pools.known():
            try:
                stores[name] = await self._pools.store(name)
            except Unavailable:
                stores[name] = None
        return stores

    async def catalogue_answers(self) -> bool:
        try:
            await self._pools.store(OWN)
            await self._pools.own.ping()
        except Unavailable:
            return False
        return True


def _refuse_second(pool: Pool, other: Pool, same_store: bool) -> None:
    if same_store and other.name != pool.name:
        raise Conflict(f"The pool {other.name} is at that uri already.")
