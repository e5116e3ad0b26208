"""Records of the model store: a dictionary per collection."""

from itertools import count

from nuska.interfaces.records import ABSENT, Record


class MemoryRecords:
    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Record]] = {}
        self._versions = count(1)

    async def get(self, collection: str, key: str) -> Record | None:
        return self._collections.get(collection, {}).get(key)

    async def put(self, collection: str, key: str, value: bytes, *, version: str) -> str | None:
        held = self._collections.setdefault(collection, {})
        if _version(held.get(key)) != version:
            return None
        record = held[key] = Record(key, value, str(next(self._versions)))
        return record.version

    async def remove(self, collection: str, key: str, *, version: str) -> bool:
        held = self._collections.get(collection, {})
        if key not in held or held[key].version != version:
            return False
        del held[key]
        return True

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        held = self._collections.get(collection, {})
        keys = sorted(key for key in held if key > after and (before is None or key < before))
        return [held[key] for key in keys[:limit]]


def _version(record: Record | None) -> str:
    return ABSENT if record is None else record.version
