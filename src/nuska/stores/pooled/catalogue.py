"""What is kept about pools and queues, as records of one store.

Nothing here knows another store. Where a queue lies is its *pin*: read, changed by
compare-and-set, and kept in memory for a while by whoever uses the queue (``pins.py``).
"""

from collections.abc import AsyncIterator
from typing import Literal

import msgspec
from msgspec import Struct

from nuska.domain.internal import SEPARATOR
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.pools import Pool
from nuska.interfaces.records import ABSENT, Record, RecordStore

POOLS = "pools"
FLAVORS = "flavors"
MOVES = "moves"
DRAINS = "drains"
REMAINS = "remains"
"""Fenced queues that have been moved or deleted, until nobody can still mean them."""
LETTER_BOXES = "letter boxes"
LOGS = "logs"
"""Queues whose announcement log is open, wherever they lie, and if they do not exist."""
LOG_ENDS = "log ends"
"""The last positions of those that were deleted."""
PAGE = 100

PinState = Literal["making", "open", "moving", "landing", "going"]


class Pin(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a queue lies, and what is being done about that."""

    pool: str
    state: PinState
    """``making``: being created there; ``open``; ``moving``: still there, being carried to
    ``target``; ``landing``: there, and the fence has yet to be taken away; ``going``: being
    deleted."""
    epoch: int = 0
    """Of what is being done, or was done last; see ``interfaces/pooling.py``."""
    until: Moment = Moment(0)
    """From then on anybody may finish, or undo, what is being done."""
    target: str | None = None


class SeenPin(Struct, frozen=True):
    """A pin as it was read."""

    pin: Pin
    version: str


class Remains(Struct, frozen=True, kw_only=True):
    """A queue that lies in a pool no more."""

    pool: str
    project: str
    name: str
    epoch: int
    since: Moment


_encode = msgspec.json.Encoder().encode
_decode_pin = msgspec.json.Decoder(Pin).decode
_decode_pool = msgspec.json.Decoder(Pool).decode
_decode_remains = msgspec.json.Decoder(Remains).decode


class Catalogue:
    """Typed access to the records."""

    def __init__(self, records: RecordStore) -> None:
        self.records = records

    async def pin(self, queue: QueueRef) -> SeenPin | None:
        record = await self.records.get(_pins(queue.project), queue.name)
        return None if record is None else SeenPin(_decode_pin(record.value), record.version)

    async def put_pin(self, queue: QueueRef, pin: Pin, seen: SeenPin | None) -> SeenPin | None:
        """The pin as it is now, if it was ``seen`` last (None: if there was none); else None.

        That the queue is in a pool stands in the pool's list before the pin says so.
        """
        pools = {pin.pool, pin.target or pin.pool}
        for pool in pools:
            await self._list_in(pool, queue)
        version = await self.records.put(
            _pins(queue.project),
            queue.name,
            _encode(pin),
            version=ABSENT if seen is None else seen.version,
        )
        if version is None:
            return None
        for pool in pools:
            await self._list_in(pool, queue)  # somebody may have just taken it off
        return SeenPin(pin, version)

    async def remove_pin(self, queue: QueueRef, seen: SeenPin) -> bool:
        removed = await self.records.remove(_pins(queue.project), queue.name, version=seen.version)
        if removed:
            await self.unlist(seen.pin.pool, queue)
        return removed

    async def pinned(self, project: str, *, after: str, limit: int) -> list[tuple[QueueRef, Pin]]:
        """Queues of a project that have a pin, by name."""
        records = await self.records.page(_pins(project), after=after, limit=limit)
        return [(QueueRef(project, r.key), _decode_pin(r.value)) for r in records]

    async def in_pool(self, pool: str) -> AsyncIterator[QueueRef]:
        """Queues that are, or were, or may soon be in a pool; their pins say."""
        after = ""
        while records := await self.records.page(_list_of(pool), after=after, limit=PAGE):
            for record in records:
                project, _, name = record.key.rpartition(SEPARATOR)
                yield QueueRef(project, name)
            after = records[-1].key

    async def _list_in(self, pool: str, queue: QueueRef) -> None:
        key = key_of(queue)
        if await self.records.get(_list_of(pool), key) is None:
            await self.records.put(_list_of(pool), key, b"", version=ABSENT)

    async def unlist(self, pool: str, queue: QueueRef) -> None:
        """Take a queue off a pool's list, unless its pin points there (again)."""
        record = await self.records.get(_list_of(pool), key_of(queue))
        if record is None:
            return
        seen = await self.pin(queue)
        if seen is None or pool not in (seen.pin.pool, seen.pin.target):
            await self.records.remove(_list_of(pool), record.key, version=record.version)
            again = await self.pin(queue)
            if again is not None and pool in (again.pin.pool, again.pin.target):
                await self._list_in(pool, queue)

    async def pools(self) -> list[Pool]:
        """Every pool, by name."""
        pools: list[Pool] = []
        after = ""
        while records := await self.records.page(POOLS, after=after, limit=PAGE):
            pools += [_decode_pool(record.value) for record in records]
            after = records[-1].key
        return pools

    async def pool(self, name: str) -> Pool | None:
        record = await self.records.get(POOLS, name)
        return None if record is None else _decode_pool(record.value)

    async def remains(self, *, after: str, limit: int) -> list[tuple[Record, Remains]]:
        """What remains of queues, the oldest first."""
        records = await self.records.page(REMAINS, after=after, limit=limit)
        return [(record, _decode_remains(record.value)) for record in records]

    async def note_remains(self, queue: QueueRef, pool: str, epoch: int, now: Moment) -> None:
        """Remember to clear away what is about to remain of a queue in a pool."""
        remains = Remains(pool=pool, project=queue.project, name=queue.name, epoch=epoch, since=now)
        key = SEPARATOR.join((f"{now:015}", str(epoch), pool, key_of(queue)))
        await self.records.put(REMAINS, key, _encode(remains), version=ABSENT)


def key_of(queue: QueueRef) -> str:
    return f"{queue.project}{SEPARATOR}{queue.name}"


def _pins(project: str) -> str:
    return f"pins{SEPARATOR}{project}"


def _list_of(pool: str) -> str:
    return f"in{SEPARATOR}{pool}"
