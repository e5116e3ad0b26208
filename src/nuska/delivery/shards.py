"""Which followed queues this process is in charge of.

Followed queues are divided into shards. On a store that nodes share each shard is leased by one
of them: a lease is renewed long before it ends, given back in order when the process stops, and
taken by another node when it ends because its holder is gone. Nodes take no more than their share,
and give back what is over it when others come. A process that could not renew a lease stops
before the lease ends.

A store that one process has to itself needs none of this: ``Alone``.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from nuska.core.subscription_records import SHARDS, shard_name
from nuska.domain.errors import Unavailable
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, Record, RecordStore

LEASES = "shards"
NODES = "nodes"
LEASE: Duration = seconds(15)
RENEW_EVERY = 4.0
"""Seconds of real time."""
SAFETY: Duration = seconds(3)
"""So long before its end a lease is not relied on any more."""
FORGOTTEN_AFTER: Duration = seconds(3_600)
MOST_NODES = 1_000
ALL = frozenset(map(shard_name, range(SHARDS)))


class Lease(Struct, frozen=True):
    node: str
    until: Moment


class Presence(Struct, frozen=True):
    until: Moment


_encode = msgspec.json.Encoder().encode
_lease = msgspec.json.Decoder(Lease).decode
_presence = msgspec.json.Decoder(Presence).decode


class Shards(Protocol):
    def ours(self) -> frozenset[str]:
        """The shards that this process may act for now."""
        ...

    async def renew(self, let_go: Callable[[str], Awaitable[None]], /) -> None:
        """Renew, take and give back; ``let_go`` returns when nothing more is done for a shard."""
        ...

    async def give_back(self) -> None:
        """Give back everything, when nothing more is done for any."""
        ...


class Alone:
    """Every shard is ours: nobody else has the store open."""

    def ours(self) -> frozenset[str]:
        return ALL

    async def renew(self, _let_go: Callable[[str], Awaitable[None]]) -> None:
        return

    async def give_back(self) -> None:
        return


class Leases:
    """A fair share of the shards, leased."""

    def __init__(self, records: RecordStore, clock: Clock, node: str) -> None:
        self._records = records
        self._clock = clock
        self._node = node
        self._held: dict[str, tuple[Moment, str]] = {}
        """Until when, and the record's version."""
        self._presence = ABSENT

    def ours(self) -> frozenset[str]:
        try:
            now = self._clock.now()
        except Unavailable:
            return frozenset()
        return frozenset(s for s, (until, _) in self._held.items() if now < until - SAFETY)

    async def renew(self, let_go: Callable[[str], Awaitable[None]]) -> None:
        others = await self._be_seen()
        share = -(-SHARDS // (others + 1))
        await self._renew_held()
        for shard in sorted(self._held)[share:]:
            await let_go(shard)
            await self._release(shard)
        records = {record.key: record for record in await self._records.page(LEASES, limit=SHARDS)}
        free = [s for s in ALL - set(self._held) if self._is_free(records.get(s))]
        free.sort(key=self._liking)
        for shard in free[: max(0, share - len(self._held))]:
            found = records.get(shard)
            await self._write(shard, ABSENT if found is None else found.version)

    async def give_back(self) -> None:
        await asyncio.gather(*map(self._release, list(self._held)))
        await self._records.remove(NODES, self._node, version=self._presence)

    async def _be_seen(self) -> int:
        """Say that this node is there; how many others are."""
        now = self._clock.now()
        value = _encode(Presence(after(now, LEASE)))
        version = await self._records.put(NODES, self._node, value, version=self._presence)
        if version is None:
            seen = await self._records.get(NODES, self._node)
            self._presence = ABSENT if seen is None else seen.version
        else:
            self._presence = version
        others = 0
        for record in await self._records.page(NODES, limit=MOST_NODES):
            until = _presence(record.value).until
            if record.key != self._node and until > now:
                others += 1
            elif now - until > FORGOTTEN_AFTER:
                await self._records.remove(NODES, record.key, version=record.version)
        return others

    async def _renew_held(self) -> None:
        for shard, (_, version) in list(self._held.items()):
            await self._write(shard, version)

    async def _write(self, shard: str, version: str) -> None:
        """Lease the shard if its record is still the one seen; else it is not ours."""
        until = after(self._clock.now(), LEASE)
        written = await self._records.put(
            LEASES, shard, _encode(Lease(self._node, until)), version=version
        )
        if written is None:
            self._held.pop(shard, None)
        else:
            self._held[shard] = until, written

    async def _release(self, shard: str) -> None:
        _, version = self._held.pop(shard)
        await self._records.remove(LEASES, shard, version=version)

    def _liking(self, shard: str) -> int:
        """Nodes that start together should not want the same."""
        return zlib.crc32(f"{self._node}{shard}".encode())

    def _is_free(self, record: Record | None) -> bool:
        if record is None:
            return True
        lease = _lease(record.value)
        return lease.node == self._node or lease.until <= self._clock.now()
