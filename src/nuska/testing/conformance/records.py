"""Records: small documents that change by compare-and-set, and pages of them by key."""

import asyncio

import pytest

from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT, MAX_RECORD, Record, RecordStore
from nuska.testing.conformance.inbox import Conformance

HOSTILE = ["a", "a.b", "a/b", "a:b", "%", "_", "A", "x' --", "größe", "𝄞", "\x1f", "{a}", "a}b"]
RIVALS = 8
TURNS = 5


class RecordConformance(Conformance):
    @pytest.fixture
    def records(self, store: PoolableStore) -> RecordStore:
        return store.records

    async def test_a_record_is_read_as_it_was_put(self, records: RecordStore) -> None:
        assert await records.get("pool", "a") is None
        version = await records.put("pool", "a", b"\x00\xff one", version=ABSENT)
        assert version
        assert await records.get("pool", "a") == Record("a", b"\x00\xff one", version)
        large = bytes(range(256)) * (MAX_RECORD // 256)
        assert await records.put("pool", "a", large, version=version)
        read = await records.get("pool", "a")
        assert read is not None
        assert read.value == large

    async def test_a_record_changes_only_for_who_saw_its_last_version(
        self, records: RecordStore
    ) -> None:
        first = await records.put("pool", "a", b"1", version=ABSENT)
        assert first
        assert await records.put("pool", "a", b"2", version=ABSENT) is None
        second = await records.put("pool", "a", b"2", version=first)
        assert second
        assert await records.put("pool", "a", b"3", version=first) is None
        assert not await records.remove("pool", "a", version=first)
        assert not await records.remove("pool", "a", version=ABSENT)
        assert await records.get("pool", "a") == Record("a", b"2", second)

    async def test_a_version_is_not_met_again_when_a_key_is_used_again(
        self, records: RecordStore
    ) -> None:
        first = await records.put("pool", "a", b"1", version=ABSENT)
        assert first
        assert await records.remove("pool", "a", version=first)
        assert await records.get("pool", "a") is None
        assert not await records.remove("pool", "a", version=first)
        assert await records.put("pool", "a", b"2", version=first) is None
        again = await records.put("pool", "a", b"1", version=ABSENT)
        assert again
        assert again != first
        assert await records.put("pool", "a", b"2", version=first) is None

    async def test_pages_follow_the_keys_and_keep_to_their_collection(
        self, records: RecordStore
    ) -> None:
        for collection in HOSTILE:
            for key in HOSTILE:
                value = f"{collection}|{key}".encode()
                assert await records.put(collection, key, value, version=ABSENT)
        for collection in HOSTILE:
            page = await records.page(collection, limit=100)
            assert [(r.key, r.value) for r in page] == [
                (key, f"{collection}|{key}".encode()) for key in sorted(HOSTILE)
            ]
        assert [r.key for r in await records.page("a", after="a", before="größe", limit=3)] == [
            "a.b",
            "a/b",
            "a:b",
        ]
        assert [r.key for r in await records.page("a", after="a:b", before="größe", limit=9)] == [
            "a}b"
        ]
        assert await records.page("a", after="𝄞", limit=9) == []
        assert await records.page("nothing", limit=9) == []

    async def test_of_those_who_put_at_once_one_wins_each_time(self, records: RecordStore) -> None:
        async def add_one() -> None:
            while True:
                seen = await records.get("counter", "n")
                value = 0 if seen is None else int(seen.value)
                version = ABSENT if seen is None else seen.version
                new = str(value + 1).encode()
                if await records.put("counter", "n", new, version=version):
                    return

        for _ in range(TURNS):
            await asyncio.gather(*(add_one() for _ in range(RIVALS)))
        record = await records.get("counter", "n")
        assert record is not None
        assert int(record.value) == RIVALS * TURNS
