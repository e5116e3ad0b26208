"""Pre-signed URLs that are kept: what each is good for, and how often it was used.

A record stands for one of them; without its record it is good for nothing. So one that is
revoked is refused at once, on every node: whoever shows one has its record looked at, for every
request. Uses are counted there too, by compare-and-set, before a request is carried out: never more
than were given, whatever comes of it. Only one that is refused for the pace of its project is none.

| collection | key | value |
|---|---|---|
| ``grants`` | project · queue · id | ``KeptGrant`` |
"""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address, ip_network
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nuska.domain.errors import Unavailable
from nuska.domain.internal import key_of, keys_below
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, RecordStore

GRANTS = "grants"
TRIES = 20
"""How often a use is counted again that others were faster with."""
PAGE = 100


class KeptGrant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one URL is good for. Its signature is not kept: it cannot be shown again."""

    id: str
    queue: str
    paths: tuple[str, ...]
    """Absolute, as signed."""
    methods: tuple[str, ...]
    created_at: Moment
    expires_at: Moment
    note: str = ""
    """What its maker wrote to know it again."""
    max_body: int | None = None
    max_batch: int | None = None
    uses: int | None = None
    used: int = 0
    networks: tuple[str, ...] = ()
    """Those from which it is good; empty: any."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeptGrant).decode


class GrantRecords:
    """The records, and the counting."""

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._counting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Requests with one URL count one after the other here, rather than in each other's way."""

    async def add(self, project: str, grant: KeptGrant) -> None:
        key = key_of(project, grant.queue, grant.id)
        if not await self._records.put(GRANTS, key, _encode(grant), version=ABSENT):
            raise Unavailable("The id of the new grant is taken.")

    async def get(self, queue: QueueRef, id_: str) -> KeptGrant | None:
        """One that is still good; None for any other."""
        record = await self._records.get(GRANTS, key_of(queue.project, queue.name, id_))
        if record is None:
            return None
        grant = _decode(record.value)
        return grant if self._clock.now() < grant.expires_at else None

    async def remove(self, queue: QueueRef, id_: str) -> None:
        """Whether or not it is there."""
        key = key_of(queue.project, queue.name, id_)
        for _ in range(TRIES):
            record = await self._records.get(GRANTS, key)
            if record is None or await self._records.remove(GRANTS, key, version=record.version):
                return
        raise Unavailable("The grant keeps being used while it is revoked.")

    async def page(
        self, project: str, queue: str | None, *, after: tuple[str, str] | None, limit: int
    ) -> list[KeptGrant]:
        """Those of a queue, or of the project, that are still good, by queue and id."""
        found: list[KeptGrant] = []
        async for grant in self._walk(project, queue, after):
            if self._clock.now() < grant.expires_at:
                found.append(grant)
                if len(found) == limit:
                    break
        return found

    async def count_and_clear(self, queue: QueueRef) -> int:
        """How many of the queue are still good; those that are not are cleared away."""
        count = 0
        async for grant in self._walk(queue.project, queue.name, None):
            if self._clock.now() < grant.expires_at:
                count += 1
            else:
                await self.remove(queue, grant.id)
        return count

    async def _walk(
        self, project: str, queue: str | None, after: tuple[str, str] | None
    ) -> AsyncIterator[KeptGrant]:
        start, end = keys_below(project) if queue is None else keys_below(project, queue)
        if after is not None:
            start = max(start, key_of(project, *after))
        while page := await self._records.page(GRANTS, after=start, before=end, limit=PAGE):
            for record in page:
                yield _decode(record.value)
            start = page[-1].key

    async def good_for(self, queue: QueueRef, id_: str, source: str | None) -> KeptGrant | None:
        """What is kept under the id; None when it is good no more, or not for this ``source``, an
        address (None: there is none)."""
        grant = await self.get(queue, id_)
        if grant is None or not is_from(grant.networks, source) or _is_used_up(grant):
            return None
        return grant

    async def count(self, queue: QueueRef, id_: str) -> bool:
        """One more use; False, and nothing is counted, when there is none left."""
        return await self._count(queue, id_, 1)

    async def uncount(self, queue: QueueRef, id_: str) -> None:
        """A use that was counted has come to nothing."""
        await self._count(queue, id_, -1)

    async def _count(self, queue: QueueRef, id_: str, by: int) -> bool:
        key = key_of(queue.project, queue.name, id_)
        async with self._counting.setdefault(key, asyncio.Lock()):
            for _ in range(TRIES):
                record = await self._records.get(GRANTS, key)
                grant = None if record is None else _decode(record.value)
                if record is None or grant is None or self._clock.now() >= grant.expires_at:
                    return False
                if by > 0 and _is_used_up(grant):
                    return False
                counted = replace(grant, used=max(0, grant.used + by))
                if await self._records.put(GRANTS, key, _encode(counted), version=record.version):
                    return True
        raise Unavailable("Too many requests show this URL at once.")


def _is_used_up(grant: KeptGrant) -> bool:
    return grant.uses is not None and grant.used >= grant.uses


def is_from(networks: tuple[str, ...], source: str | None) -> bool:
    """Whether the address lies in one of the networks; with none of them, always."""
    if not networks:
        return True
    try:
        address = ip_address(source or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ip_network(network) for network in networks)
