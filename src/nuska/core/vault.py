"""Data keys: made with the first post to an encrypted queue, kept as records, wrapped.

Two collections. ``data_keys``: project, key id -> the wrapped key; it stays as long as the project
does not have its keys erased, so that whatever names it can be opened. ``sealing_keys``: project,
queue -> which key seals what is posted now. A process remembers both for ``REMEMBERED_FOR``: for
that long nobody else's change is noticed, so an erasure waits for it. First no node knows any more
which keys sealed until then, and new ones are made; only then are the keys themselves removed, and
when the erasure has ended no node can open anything by them. It removes no key that was made after
it began, and none that has become a queue's meanwhile, not even for a moment: whoever does not find
a key takes what it sealed for erased.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from nuska.domain.errors import KeyMissing, Unavailable
from nuska.domain.internal import key_of, keys_below, owner_of
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, seconds
from nuska.domain.sealed import is_sealed
from nuska.domain.sealing import (
    KEY_BYTES,
    KEY_ID_BYTES,
    Broken,
    DataKey,
    OperatorKeys,
    Wrapped,
    key_id_of,
)
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, Record, RecordStore
from nuska.interfaces.storage import RandomBytes
from nuska.interfaces.vault import Lost

DATA_KEYS = "data_keys"
SEALING_KEYS = "sealing_keys"
REMEMBERED_FOR = seconds(5)
ON_THEIR_WAY = seconds(1)
"""For which a body that has just been sealed, or read, may still be on its way."""
REMEMBERED = 10_000
"""Keys, and as many queues, that a process remembers."""
PAGE = 200
"""Records looked at in one step of what concerns many keys."""
LOOKED_AT = 1_000
"""Data keys of which it is found out whether the operator's keys open them."""
ATTEMPTS = 8
"""At making a queue's key while others make it, too."""

_V = TypeVar("_V")


class StoredKey(Struct, frozen=True, kw_only=True):
    """A record of ``data_keys``."""

    queue: str
    """Whose posts it sealed first, as the store names it within the project."""
    made_at: Moment
    wrapped: Wrapped


class SealingKey(Struct, frozen=True, kw_only=True):
    """A record of ``sealing_keys``."""

    key: str
    made_at: Moment


_encode = msgspec.json.Encoder().encode
_stored_key = msgspec.json.Decoder(StoredKey).decode
_sealing_key = msgspec.json.Decoder(SealingKey).decode


class _Remembered(OrderedDict[str, tuple[Moment, _V]]):
    """The last values by key, each for a time."""

    def look(self, key: str, now: Moment) -> _V | None:
        known = self.get(key)
        if known is None or not known[0] <= now < known[0] + REMEMBERED_FOR:
            return None
        return known[1]

    def note(self, key: str, value: _V, now: Moment) -> None:
        self[key] = (now, value)
        self.move_to_end(key)
        if len(self) > REMEMBERED:
            self.popitem(last=False)


class KeyVault:
    """``Vault`` over the records of a store."""

    def __init__(
        self,
        records: RecordStore,
        operator: OperatorKeys,
        clock: Clock,
        random_bytes: RandomBytes,
        *,
        key_life: Duration,
        alone: bool = True,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``key_life``: what is posted to a queue later gets another key. ``alone``: no other
        process uses the store."""
        self._records = records
        self._operator = operator
        self._clock = clock
        self._random_bytes = random_bytes
        self._key_life = key_life
        self._alone = alone
        self._sleep = sleep
        self._keys: _Remembered[DataKey] = _Remembered()
        self._sealing: _Remembered[tuple[DataKey, Moment]] = _Remembered()
        self._forgotten = 0
        """How often; what was looked up before is not remembered after."""
        self._making: set[str] = set()
        """Ids of keys that are to become a queue's."""

    # Vault

    async def seal(self, queue: QueueRef, bodies: Sequence[bytes]) -> list[bytes]:
        key = self._sealing_now(queue)
        if key is None:
            key = await self._sealing_key(queue)
        return [key.seal(body, self._random_bytes) for body in bodies]

    async def open(self, project: str, bodies: Sequence[bytes]) -> list[bytes | Lost]:
        opened: list[bytes | Lost] = []
        for body in bodies:
            if not is_sealed(body):
                opened.append(body)
                continue
            try:
                key = await self._key(project, key_id_of(body))
                opened.append(Lost.ERASED if key is None else key.open(body))
            except Broken:
                opened.append(Lost.BROKEN)
        return opened

    def fingerprint(self, project: str, of: bytes) -> bytes:
        return self._operator.fingerprint(project, of)

    @property
    def operator_keys(self) -> tuple[str, ...]:
        """The names of the keys that are configured."""
        return self._operator.names

    # What the operator does

    async def rotate(self, project: str) -> int:
        """Seal whatever is posted to the project's queues from now on with new keys; how many
        queues had one. Other nodes follow within ``REMEMBERED_FOR``."""
        removed = await self._remove_all(SEALING_KEYS, project)
        self._forget()
        return removed

    async def erase(self, project: str) -> int:
        """Remove every key that has sealed something of the project by now: that is gone, wherever
        copies of it lie, for every node. How many keys there were. What is posted meanwhile is
        sealed with others. Takes seconds where other nodes must forget what they know."""
        there = await self._ids(project)
        await self._remove_all(SEALING_KEYS, project)
        self._forget()
        await self._until_others_forget()
        # Of what was there, a queue may have got a key just now, or be getting it.
        spared = set(self._making)
        spared |= await self._sealing_ids(project)
        removed = await self._remove_keys(project, there - spared)
        self._forget()
        await self._until_others_forget()
        return removed

    async def page(self, project: str, *, after: str, limit: int) -> list[tuple[str, StoredKey]]:
        """Keys of the project by id, after the id ``after``."""
        start, end = keys_below(project)
        found = await self._records.page(
            DATA_KEYS, after=start if not after else key_of(project, after), before=end, limit=limit
        )
        return [(_id_in(record), _stored_key(record.value)) for record in found]

    async def rewrap(self) -> int:
        """Wrap the keys of all projects with the operator's first key, so that the others can be
        taken out of the settings; how many were wrapped by another."""
        changed, after = 0, ""
        while page := await self._records.page(DATA_KEYS, after=after, limit=PAGE):
            for record in page:
                changed += await self._rewrap(record)
            after = page[-1].key
        return changed

    # Inside

    def _sealing_now(self, queue: QueueRef) -> DataKey | None:
        now = self._clock.now()
        known = self._sealing.look(key_of(queue.project, queue.name), now)
        return known[0] if known is not None and now < known[1] + self._key_life else None

    async def _sealing_key(self, queue: QueueRef) -> DataKey:
        """The queue's key as the records have it, or a new one."""
        project, place = owner_of(queue.project), key_of(owner_of(queue.project), _within(queue))
        for _ in range(ATTEMPTS):
            now, forgotten = self._clock.now(), self._forgotten
            record = await self._records.get(SEALING_KEYS, place)
            if record is not None:
                current = _sealing_key(record.value)
                if now < current.made_at + self._key_life:
                    self._keys.pop(key_of(project, current.key), None)
                    key = await self._key(project, current.key)
                    if forgotten != self._forgotten:
                        continue
                    if key is not None:
                        known = (key, current.made_at)
                        self._sealing.note(key_of(queue.project, queue.name), known, now)
                        return key
            version = ABSENT if record is None else record.version
            made = self._random_bytes(KEY_ID_BYTES).hex()
            sealing = _encode(SealingKey(key=made, made_at=now))
            self._making.add(made)
            try:
                await self._make(project, made, _within(queue), now)
                await self._records.put(SEALING_KEYS, place, sealing, version=version)
            finally:
                self._making.discard(made)
        raise Unavailable("The key of the queue changes all the time.")

    async def _make(self, project: str, key_id: str, queue: str, now: Moment) -> None:
        """Store a new key."""
        key = self._random_bytes(KEY_BYTES)
        wrapped = self._operator.wrap(key, project, key_id, self._random_bytes)
        stored = StoredKey(queue=queue, made_at=now, wrapped=wrapped)
        if not await self._records.put(
            DATA_KEYS, key_of(project, key_id), _encode(stored), version=ABSENT
        ):
            raise Unavailable("A new key could not be stored.")

    async def _key(self, project: str, key_id: str) -> DataKey | None:
        """None when the key has been erased."""
        name, now, forgotten = key_of(project, key_id), self._clock.now(), self._forgotten
        known = self._keys.look(name, now)
        if known is not None:
            return known
        record = await self._records.get(DATA_KEYS, name)
        if record is None:
            return None
        wrapped = _stored_key(record.value).wrapped
        try:
            raw = self._operator.unwrap(wrapped, project, key_id)
        except KeyError as error:
            raise KeyMissing(
                f"The messages need the operator's encryption key {wrapped.operator_key}, which is "
                "not configured on this server."
            ) from error
        key = DataKey(project, key_id, raw)
        if forgotten == self._forgotten:
            self._keys.note(name, key, now)
        return key

    async def _rewrap(self, record: Record) -> bool:
        stored = _stored_key(record.value)
        if stored.wrapped.operator_key == self._operator.first:
            return False
        project, _, key_id = record.key.rpartition(key_of("", ""))
        try:
            raw = self._operator.unwrap(stored.wrapped, project, key_id)
        except KeyError as error:
            raise KeyMissing(
                f"Key {key_id} is wrapped by the operator's key {stored.wrapped.operator_key}, "
                "which is not configured on this server."
            ) from error
        wrapped = self._operator.wrap(raw, project, key_id, self._random_bytes)
        anew = _encode(msgspec.structs.replace(stored, wrapped=wrapped))
        done = await self._records.put(DATA_KEYS, record.key, anew, version=record.version)
        return done is not None

    def _forget(self) -> None:
        self._sealing.clear()
        self._keys.clear()
        self._forgotten += 1

    async def _until_others_forget(self) -> None:
        if not self._alone:
            await self._sleep((REMEMBERED_FOR + ON_THEIR_WAY) / 1000)

    async def _ids(self, project: str) -> set[str]:
        """Of all the project's keys."""
        found: set[str] = set()
        after, end = keys_below(project)
        while page := await self._records.page(DATA_KEYS, after=after, before=end, limit=PAGE):
            found.update(map(_id_in, page))
            after = page[-1].key
        return found

    async def _remove_keys(self, project: str, ids: set[str]) -> int:
        """How many of them there were."""
        removed = 0
        after, end = keys_below(project)
        while page := await self._records.page(DATA_KEYS, after=after, before=end, limit=PAGE):
            for record in page:
                if _id_in(record) in ids:
                    removed += await self._remove(record)
            after = page[-1].key
        return removed

    async def _remove(self, key: Record) -> bool:
        """Remove it also when it is being wrapped anew; whether it was there."""
        found: Record | None = key
        for _ in range(ATTEMPTS):
            if found is None:
                return False
            if await self._records.remove(DATA_KEYS, found.key, version=found.version):
                return True
            found = await self._records.get(DATA_KEYS, key.key)
        raise Unavailable("A key that is to be removed changes all the time.")

    async def _sealing_ids(self, project: str) -> set[str]:
        """The ids of the keys that seal what is posted now."""
        found: set[str] = set()
        after, end = keys_below(project)
        while page := await self._records.page(SEALING_KEYS, after=after, before=end, limit=PAGE):
            found.update(_sealing_key(record.value).key for record in page)
            after = page[-1].key
        return found

    async def _remove_all(self, collection: str, project: str) -> int:
        removed = 0
        start, end = keys_below(project)
        while page := await self._records.page(collection, after=start, before=end, limit=PAGE):
            for record in page:
                removed += await self._records.remove(
                    collection, record.key, version=record.version
                )
        return removed


async def missing_keys(records: RecordStore, vault: KeyVault | None) -> list[str]:
    """The names of the operator's keys that data keys need and that are not configured; of the
    first ``LOOKED_AT`` data keys."""
    there = set() if vault is None else set(vault.operator_keys)
    missing: set[str] = set()
    after = ""
    for _ in range(LOOKED_AT // PAGE):
        page = await records.page(DATA_KEYS, after=after, limit=PAGE)
        missing |= {_stored_key(record.value).wrapped.operator_key for record in page} - there
        if len(page) < PAGE:
            break
        after = page[-1].key
    return sorted(missing)


def _within(queue: QueueRef) -> str:
    """The queue's name within its owner's project; a topic has another than a queue."""
    owner = owner_of(queue.project)
    kind = queue.project.removesuffix(owner).strip("\x1f")
    return f"{kind} {queue.name}" if kind else queue.name


def _id_in(record: Record) -> str:
    return record.key.rpartition(key_of("", ""))[2]
