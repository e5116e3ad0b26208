"""What an operator may do with pools and flavors, and with where queues lie (contract http-v2
§8, §9; moves and drains are ours).

Bodies arrive here as plain values of the right kind; ranges, names and rules are checked here.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.ranges import page_size
from nuska.domain.errors import Conflict, InvalidInput, NotFound, NuskaError, Unavailable
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.pools import (
    MAX_POOL_NAME,
    MAX_POOL_OPTIONS,
    MAX_POOL_URI,
    MAX_POOL_WEIGHT,
    RESERVED_POOL_NAMES,
    Carriage,
    Flavor,
    Pool,
    Whereabouts,
    masked,
)
from nuska.interfaces.identity import Caller
from nuska.interfaces.pooling import Placement

CAPABILITIES = ("FIFO", "CLAIMS", "DURABILITY", "AOD", "HIGH_THROUGHPUT")
"""In the order in which they are shown."""
MAX_POOLS_PER_FLAVOR = 1000


class Refused(InvalidInput):
    """A pool or flavor that cannot be so; the title is the one that people search for."""

    def __init__(self, title: str, description: str) -> None:
        super().__init__(description)
        self.title = title  # type: ignore[misc]  # one class, a title per action


class PoolChange(Struct, frozen=True, kw_only=True):
    """What a patch names."""

    uri: str | UnsetType = UNSET
    weight: int | UnsetType = UNSET
    flavor: str | UnsetType | None = UNSET
    options: dict[str, Any] | UnsetType = UNSET


class ShownFlavor(Struct, frozen=True):
    """A flavor with what its pools can do; None where nobody asked."""

    flavor: Flavor
    capabilities: list[str] | None


class PoolService:
    def __init__(self, placement: Placement, limits: Limits) -> None:
        self._placement = placement
        self._limits = limits

    async def page(self, caller: Caller, *, after: str | None, limit: int | None) -> list[Pool]:
        allow(caller, "pools:get_all")
        size = page_size(limit, self._limits.max_pools_per_page)
        return await self._placement.pools(after=after or "", limit=size)

    async def get(self, caller: Caller, name: str) -> Pool:
        allow(caller, "pools:get")
        return await self._known(name)

    async def put(self, caller: Caller, pool: Pool) -> None:
        """Add the pool, or put it in place of the one of its name, whole."""
        allow(caller, "pools:create")
        before = await self._placement.pool(pool.name)
        await self._put(pool, before, "Unable to create pool")

    async def update(self, caller: Caller, name: str, change: PoolChange) -> Pool:
        """Change what ``change`` names; the pool as it is then."""
        allow(caller, "pools:update")
        before = await self._known(name)
        changes = {
            field: value
            for field, value in msgspec.structs.asdict(change).items()
            if value is not UNSET
        }
        if not changes:
            raise InvalidInput("The body must name one of uri, weight, flavor and options.")
        await self._put(replace(before, **changes), before, "updatefail")
        return await self._known(name)

    async def _put(self, pool: Pool, before: Pool | None, title: str) -> None:
        if before is not None and pool.uri == masked(before.uri):
            pool = replace(pool, uri=before.uri)  # as it was shown: its password stays
        try:
            _check(pool)
            await self._placement.put_pool(pool)
        except (Conflict, Unavailable):
            raise
        except InvalidInput as error:
            raise Refused(title, error.description) from error

    async def delete(self, caller: Caller, name: str) -> None:
        allow(caller, "pools:delete")
        await self._placement.remove_pool(name)

    async def start_drain(self, caller: Caller, name: str, target: str | None) -> Carriage:
        """Have every queue of the pool carried elsewhere."""
        allow(caller, "pools:update")
        await self._placement.start_drain(name, target)
        return await self.drain(caller, name)

    async def drain(self, caller: Caller, name: str) -> Carriage:
        """How far the last drain has come."""
        allow(caller, "pools:get")
        return _found(await self._placement.drain_of(name), f"the pool {name} was drained")

    async def whereabouts(self, caller: Caller, queue: str) -> Whereabouts:
        """Where a queue of the caller's project lies."""
        ref = QueueRef(caller.project, queue)
        allow(caller, "pools:get", ref)
        found = await self._placement.whereabouts(ref)
        if found is None:
            raise NotFound(f"There is no queue named {queue}.")
        return found

    async def start_move(self, caller: Caller, queue: str, target: str) -> Carriage:
        """Have a queue of the caller's project carried to a pool."""
        ref = QueueRef(caller.project, queue)
        allow(caller, "pools:update", ref)
        await self._placement.start_move(ref, target)
        return await self.move(caller, queue)

    async def move(self, caller: Caller, queue: str) -> Carriage:
        """How far the last move of the queue has come."""
        ref = QueueRef(caller.project, queue)
        allow(caller, "pools:get", ref)
        carriage = await self._placement.move_of(ref)
        return _found(carriage, f"the queue {queue} was moved")

    async def _known(self, name: str) -> Pool:
        pool = await self._placement.pool(name)
        if pool is None:
            raise NotFound(f"There is no pool named {name}.")
        return pool


class FlavorService:
    def __init__(self, placement: Placement, limits: Limits) -> None:
        self._placement = placement
        self._limits = limits

    async def page(
        self, caller: Caller, *, after: str | None, limit: int | None, detailed: bool
    ) -> list[ShownFlavor]:
        allow(caller, "flavors:get_all")
        size = page_size(limit, self._limits.max_flavors_per_page)
        flavors = await self._placement.flavors(after=after or "", limit=size)
        if not detailed:
            return [ShownFlavor(flavor, None) for flavor in flavors]
        return [ShownFlavor(flavor, await self._capabilities(flavor)) for flavor in flavors]

    async def get(self, caller: Caller, name: str) -> ShownFlavor:
        allow(caller, "flavors:get")
        flavor = await self._placement.flavor(name)
        if flavor is None:
            raise NotFound(f"There is no flavor named {name}.")
        return ShownFlavor(flavor, await self._capabilities(flavor))

    async def put(self, caller: Caller, flavor: Flavor) -> None:
        allow(caller, "flavors:create")
        await self._put(flavor, "Unable to create")

    async def update(self, caller: Caller, flavor: Flavor) -> ShownFlavor:
        allow(caller, "flavors:update")
        if await self._placement.flavor(flavor.name) is None:
            raise NotFound(f"There is no flavor named {flavor.name}.")
        await self._put(flavor, "updatefail")
        return await self.get(caller, flavor.name)

    async def _put(self, flavor: Flavor, title: str) -> None:
        try:
            _check_name("flavor", flavor.name)
            if not 0 < len(flavor.pools) <= MAX_POOLS_PER_FLAVOR:
                raise InvalidInput(
                    f"A flavor must have from 1 to {MAX_POOLS_PER_FLAVOR} pools in its pool_list."
                )
            await self._placement.put_flavor(flavor)
        except Unavailable:
            raise
        except InvalidInput as error:
            raise Refused(title, error.description) from error

    async def delete(self, caller: Caller, name: str) -> None:
        allow(caller, "flavors:delete")
        await self._placement.remove_flavor(name)

    async def _capabilities(self, flavor: Flavor) -> list[str]:
        """What the first of its pools that answers can do."""
        for pool in flavor.pools:
            try:
                names = await self._placement.pool_capabilities(pool)
            except NuskaError:
                continue
            return [name for name in CAPABILITIES if name in names]
        return []


def _found(carriage: Carriage | None, what: str) -> Carriage:
    if carriage is None:
        raise NotFound(f"Nothing is known of a time when {what}.")
    return carriage


def _check(pool: Pool) -> None:
    _check_name("pool", pool.name)
    if pool.name in RESERVED_POOL_NAMES:
        raise InvalidInput(f"No pool can be called {pool.name}.")
    if not 0 < len(pool.uri) <= MAX_POOL_URI:
        raise InvalidInput(f"The uri must have from 1 to {MAX_POOL_URI} characters.")
    if not 0 <= pool.weight <= MAX_POOL_WEIGHT:
        raise InvalidInput(f"The weight must be from 0 to {MAX_POOL_WEIGHT}.")
    if pool.flavor is not None:
        _check_name("flavor", pool.flavor)
    _check_options(pool.options)


def _check_name(what: str, name: str) -> None:
    if not 0 < len(name) <= MAX_POOL_NAME or not name.isprintable():
        raise InvalidInput(
            f"The name of a {what} must have from 1 to {MAX_POOL_NAME} printable characters."
        )


def _check_options(options: Mapping[str, Any]) -> None:
    if len(msgspec.json.encode(options)) > MAX_POOL_OPTIONS:
        raise InvalidInput(f"The options are too large: the maximum is {MAX_POOL_OPTIONS} bytes.")
