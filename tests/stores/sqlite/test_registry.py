"""The queues in memory: bounded by what they take there, not by how short they are as text."""

import os
import tracemalloc

import pytest

from nuska.domain.messages import QueueRef
from nuska.domain.queues import Metadata
from nuska.stores.sqlite import registry as registry_module
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

BOUND = 2 * 1024 * 1024


@pytest.mark.parametrize(
    "metadata",
    [
        {"k": [[]] * 20_000},
        {"k": [{}] * 15_000},
        {"k": [{"": {"": [0]}}] * 4_000},
        {"k": ["é"] * 12_000},
        {str(number): number for number in range(5_000)},
    ],
)
async def test_metadata_of_many_small_parts_does_not_fill_the_memory(
    sqlite: SqliteStore, clock: ManualClock, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MAX_METADATA_BYTES", BOUND)
    await sqlite.queues.create(QueueRef("acme", "warm"), metadata, now=clock.now())
    tracemalloc.start()
    try:
        for number in range(25):
            clock.advance(milliseconds=5)
            await sqlite.queues.create(QueueRef("acme", f"q{number}"), metadata, now=clock.now())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * BOUND


async def test_a_queue_that_was_dropped_from_memory_is_read_again(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MAX_METADATA_BYTES", 0)
    name = QueueRef("acme", os.urandom(4).hex())
    await sqlite.queues.create(name, {"k": [[1], 1, True]}, now=clock.now())
    clock.advance(seconds=1)
    await sqlite.queues.create(QueueRef("acme", "other"), {}, now=clock.now())
    queue = await sqlite.queues.get(name)
    assert queue is not None
    assert repr(queue.metadata) == "{'k': [[1], 1, True]}"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"n": 1}, ["int"]),
        ({"n": "1"}, ["text"]),
        ({"n": "a\"'.$[0]"}, ["odd"]),
        ({"": 1}, ["empty"]),
        ({"a.b[0]$\"'": "x"}, ["path"]),
        ({"n": 1, "m": 2}, []),
        ({"n": None}, []),
    ],
)
async def test_a_filter_finds_keys_and_values_literally(
    sqlite: SqliteStore, clock: ManualClock, wanted: Metadata, found: list[str]
) -> None:
    queues: dict[str, Metadata] = {
        "int": {"n": 1},
        "text": {"n": "1"},
        "true": {"n": True},
        "float": {"n": 1.0},
        "deep": {"m": {"n": 1}},
        "odd": {"n": "a\"'.$[0]"},
        "empty": {"": 1},
        "path": {"a.b[0]$\"'": "x"},
        "list": {"n": [1]},
    }
    for name, metadata in queues.items():
        await sqlite.queues.create(QueueRef("acme", name), metadata, now=clock.now())
    page = await sqlite.queues.page("acme", after=None, limit=20, metadata_equals=wanted)
    assert [queue.ref.name for queue in page] == found
