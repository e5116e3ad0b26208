"""Records in Redis: a hash and a sorted set of its keys, in one hash slot per collection."""

from nuska.interfaces.records import ABSENT, Record
from nuska.interfaces.storage import RandomBytes
from nuska.stores.redis.calls import Calls

VERSION_BYTES = 12
"""Random: a version is not met again when a key is used again."""
_VERSION_DIGITS = VERSION_BYTES * 2


class RedisRecords:
    """``RecordStore`` on Redis."""

    def __init__(self, calls: Calls, random_bytes: RandomBytes) -> None:
        self._calls = calls
        self._random_bytes = random_bytes

    async def get(self, collection: str, key: str) -> Record | None:
        rows, _ = self._calls.names.records(collection)
        row = await self._calls.command(rows, "HGET", rows, key)
        return None if row is None else _record(key, row)

    async def put(self, collection: str, key: str, value: bytes, *, version: str) -> str | None:
        keys = self._calls.names.records(collection)
        new = self._random_bytes(VERSION_BYTES).hex()
        answer = await self._calls.command(
            keys[0], "FCALL", "nuska_put_record", 2, *keys, key, version, new, value
        )
        return new if answer[0] == b"put" else None

    async def remove(self, collection: str, key: str, *, version: str) -> bool:
        keys = self._calls.names.records(collection)
        answer = await self._calls.command(
            keys[0], "FCALL", "nuska_remove_record", 2, *keys, key, version
        )
        return bool(version != ABSENT and answer[0] == b"removed")

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        keys = self._calls.names.records(collection)
        last = "+" if before is None else f"({before}"
        _, *found = await self._calls.command(
            keys[0], "FCALL_RO", "nuska_page_records", 2, *keys, f"({after}", last, limit
        )
        return [
            _record(key.decode(), row) for key, row in zip(found[::2], found[1::2], strict=True)
        ]


def _record(key: str, row: bytes) -> Record:
    return Record(key, row[_VERSION_DIGITS:], row[:_VERSION_DIGITS].decode())
