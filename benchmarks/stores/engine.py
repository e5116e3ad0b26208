"""A store's real server, started for one run, and the store as its own client sees it.

An engine knows how to start and look at its server; it measures nothing. What runs raw is
what a careful user would write with the store's own Python client for the same promise: the
same rows and indexes, one atomic step, as durable as Nuska's.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds

RAW_QUEUE = QueueRef("bench", "raw")
CLAIM_TTL = seconds(300)
GRACE = seconds(60)
POSTER = os.urandom(16)


class Held(Struct, frozen=True, kw_only=True):
    """What the server keeps, in bytes."""

    memory: int
    """Of data that must be in memory; 0 where memory is but a cache."""
    disk: int

    def since(self, before: "Held") -> "Held":
        return Held(memory=self.memory - before.memory, disk=self.disk - before.disk)


class Raw(Protocol):
    """One queue, by the store's own client on one connection."""

    async def post(self, messages: Sequence[NewMessage]) -> list[Any]:
        """Store them in commit order; what names each of them here."""
        ...

    async def claim(self, limit: int) -> list[Any]:
        """Lease the oldest, and read their bodies; what names each of them."""
        ...

    async def delete(self, messages: Sequence[Any]) -> None: ...

    async def close(self) -> None: ...


class Engine(Protocol):
    """A server that runs."""

    @property
    def about(self) -> str:
        """Product, version and the settings that matter, in words."""
        ...

    def pids(self) -> list[int]:
        """Its processes now."""
        ...

    async def space(self, name: str) -> str:
        """The URL of an empty store of its own, called ``name``."""
        ...

    async def raw(self, name: str) -> Raw:
        """Its own client, on an empty store called ``name``."""
        ...

    async def held(self, name: str) -> Held:
        """What the store called ``name`` takes; of the whole server where that cannot be told."""
        ...

    async def steps(self) -> dict[str, float]:
        """Counts, since the start, that show how requests were grouped."""
        ...


NAMES = {
    "redis": "Redis",
    "postgresql": "PostgreSQL",
    "mariadb": "MariaDB",
    "mongodb": "MongoDB",
}
"""As people write them."""

Start = Callable[[Path], AbstractContextManager[Engine]]

ENGINES = {
    "redis": "benchmarks.stores.redis:running",
    "postgresql": "benchmarks.stores.postgresql:running",
    "mariadb": "benchmarks.stores.mariadb:running",
    "mongodb": "benchmarks.stores.mongodb:running",
}
"""Imported when chosen: nobody needs the clients of the others."""


def starter(name: str) -> Start:
    module, _, function = ENGINES[name].partition(":")
    start: Start = getattr(import_module(module), function)
    return start
