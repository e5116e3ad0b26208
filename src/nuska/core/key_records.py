"""How API keys are kept, as records of the store.

| collection | key | value |
|---|---|---|
| ``keys`` | id | ``Key`` |
| ``keys_of`` | project · id | nothing: an index, written first and checked on reading |
| ``key_uses`` | project · id | ``Use`` |
"""

import msgspec
from msgspec import Struct

from nuska.domain.internal import key_of, keys_below
from nuska.domain.keys import Key
from nuska.domain.moments import Moment
from nuska.interfaces.records import ABSENT, RecordStore

KEYS = "keys"
KEYS_OF = "keys_of"
KEY_USES = "key_uses"
PAGE = 100

_encode = msgspec.json.Encoder().encode
_key = msgspec.json.Decoder(Key).decode


class Use(Struct, frozen=True):
    """When a key was used last, roughly."""

    at: Moment


_use = msgspec.json.Decoder(Use).decode


class KeyRecords:
    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def get(self, id_: str) -> Key | None:
        record = await self._records.get(KEYS, id_)
        return None if record is None else _key(record.value)

    async def of(self, project: str, id_: str) -> Key | None:
        """The key, if it is the project's: of another's nothing is read."""
        if await self._records.get(KEYS_OF, key_of(project, id_)) is None:
            return None
        key = await self.get(id_)
        return key if key is not None and key.project == project else None

    async def add(self, key: Key) -> bool:
        """False when there is one of this id already."""
        await self._records.put(KEYS_OF, key_of(key.project, key.id), b"{}", version=ABSENT)
        return await self._records.put(KEYS, key.id, _encode(key), version=ABSENT) is not None

    async def remove(self, key: Key) -> None:
        """First what makes it good, then where it is listed."""
        record = await self._records.get(KEYS, key.id)
        if record is not None:
            await self._records.remove(KEYS, key.id, version=record.version)
        for collection in (KEY_USES, KEYS_OF):
            place = key_of(key.project, key.id)
            record = await self._records.get(collection, place)
            if record is not None:
                await self._records.remove(collection, place, version=record.version)

    async def page(self, project: str, *, after: str, limit: int) -> list[Key]:
        """Keys of a project by id, after the id ``after``; entries without a key are left out."""
        start, before = keys_below(project)
        if after:
            start = key_of(project, after)
        found: list[Key] = []
        while len(found) < limit:
            entries = await self._records.page(KEYS_OF, after=start, before=before, limit=PAGE)
            for entry in entries:
                start = entry.key
                key = await self.get(entry.key[len(project) + 1 :])
                if key is not None and key.project == project:
                    found.append(key)
                    if len(found) == limit:
                        break
            if len(entries) < PAGE:
                break
        return found

    async def count(self, project: str, *, at_most: int) -> int:
        """How many entries a project has, as far as ``at_most``."""
        start, before = keys_below(project)
        count = 0
        while count < at_most:
            entries = await self._records.page(KEYS_OF, after=start, before=before, limit=PAGE)
            count += len(entries)
            if len(entries) < PAGE:
                break
            start = entries[-1].key
        return count

    async def used(self, key: Key) -> Moment | None:
        record = await self._records.get(KEY_USES, key_of(key.project, key.id))
        return None if record is None else _use(record.value).at

    async def note_use(self, project: str, id_: str, at: Moment) -> None:
        """Write down a use, unless a later one is known. Losing a race loses nothing of worth."""
        place = key_of(project, id_)
        record = await self._records.get(KEY_USES, place)
        if record is not None and _use(record.value).at >= at:
            return
        version = ABSENT if record is None else record.version
        await self._records.put(KEY_USES, place, _encode(Use(at)), version=version)
        if record is None and await self.get(id_) is None:  # it was revoked meanwhile
            made = await self._records.get(KEY_USES, place)
            if made is not None:
                await self._records.remove(KEY_USES, place, version=made.version)
