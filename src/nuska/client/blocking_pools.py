"""Pools and flavors for programs without an event loop; see ``pools`` for what each call does."""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from nuska.client.pools import Carriage, Flavor, FlavorEntry, Pool, PoolEntry

T = TypeVar("T")


class Runner(Protocol):
    """What waits for a coroutine in another thread."""

    def run(self, work: Coroutine[Any, Any, T]) -> T: ...


class BlockingPool:
    """One pool; see ``Pool``."""

    def __init__(self, portal: Runner, pool: Pool) -> None:
        self._portal = portal
        self._pool = pool
        self.name = pool.name

    def show(self) -> PoolEntry:
        return self._portal.run(self._pool.show())

    def put(
        self,
        uri: str,
        *,
        weight: int,
        flavor: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._portal.run(self._pool.put(uri, weight=weight, flavor=flavor, options=options))

    def update(self, changes: dict[str, Any]) -> PoolEntry:
        return self._portal.run(self._pool.update(changes))

    def delete(self) -> None:
        self._portal.run(self._pool.delete())

    def drain(self, to: str | None = None) -> Carriage:
        return self._portal.run(self._pool.drain(to))

    def drained(self) -> Carriage:
        return self._portal.run(self._pool.drained())


class BlockingFlavor:
    """One flavor; see ``Flavor``."""

    def __init__(self, portal: Runner, flavor: Flavor) -> None:
        self._portal = portal
        self._flavor = flavor
        self.name = flavor.name

    def show(self) -> FlavorEntry:
        return self._portal.run(self._flavor.show())

    def put(self, pools: list[str]) -> None:
        self._portal.run(self._flavor.put(pools))

    def delete(self) -> None:
        self._portal.run(self._flavor.delete())
