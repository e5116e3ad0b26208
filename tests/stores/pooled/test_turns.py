"""Stores that can be open once at a time, as those in files, while pools come, go and move."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest

from nuska.domain.errors import Conflict, Unavailable
from nuska.domain.pools import Pool
from nuska.stores.pooled import pooled
from nuska.testing.clock import seeded_bytes

T = TypeVar("T")
AT_MOST = 20.0
"""Seconds; a test that waits longer has failed."""


class Gate:
    """Where an opening or a closing is held up until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.open.wait()

    def shut(self) -> None:
        self.reached.clear()
        self.open.clear()


class Held:
    """A store that nobody else opens until it is closed."""

    def __init__(self, store: Any, uri: str, files: "Files") -> None:
        self._store = store
        self._uri = uri
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        await self._files.closing.pass_through()
        self._files.held.remove(self._uri)


class Files:
    """The stores of a cluster, each open once at a time."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.held: set[str] = set()
        self.tried: list[str] = []
        self.opening = Gate()
        self.closing = Gate()

    async def open_store(self, uri: str) -> Any:
        self.tried.append(uri)
        if uri in self.held:
            raise ValueError("another has it")
        self.held.add(uri)
        await self.opening.pass_through()
        return Held(self.cluster.store(uri), uri, self)

    def node(self) -> Any:
        own = self.cluster.store("own")
        return pooled(own, self.open_store, self.cluster.clock, seeded_bytes(99))


@pytest.fixture
def files(cluster: Any) -> Files:
    return Files(cluster)


def pool(name: str, uri: str) -> Pool:
    return Pool(name=name, uri=uri, weight=1)


async def soon(what: Awaitable[T]) -> T:
    async with asyncio.timeout(AT_MOST):
        return await what


async def test_a_uri_that_is_a_pools_is_a_conflict_before_anything_is_opened(files: Files) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    files.tried.clear()
    with pytest.raises(Conflict, match="The pool one is at that uri already"):
        await node.placement.put_pool(pool("two", "here"))
    assert files.tried == []


async def test_a_pool_that_is_just_being_opened_is_a_conflict_too(files: Files) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    files.opening.shut()
    first_use = asyncio.create_task(node.pools.store("one"))
    await soon(files.opening.reached.wait())
    with pytest.raises(Conflict):
        await soon(node.placement.put_pool(pool("two", "here")))
    files.opening.open.set()
    assert await soon(first_use)


async def test_two_that_make_the_same_pool_at_once_both_succeed(files: Files) -> None:
    node = files.node()
    files.opening.shut()
    first = asyncio.create_task(node.placement.put_pool(pool("one", "here")))
    await soon(files.opening.reached.wait())
    second = asyncio.create_task(node.placement.put_pool(pool("one", "here")))
    await asyncio.sleep(0)
    files.opening.open.set()
    await soon(asyncio.gather(first, second))
    assert files.held <= {"here"}


async def test_the_first_use_of_a_pool_waits_for_a_trial_of_its_store(files: Files) -> None:
    node = files.node()
    files.opening.shut()
    trial = asyncio.create_task(node.placement.put_pool(pool("one", "here")))
    await soon(files.opening.reached.wait())
    await files.cluster.add_pool("here")  # at another node, while we look
    use = asyncio.create_task(node.pools.store("here"))
    await asyncio.sleep(0)
    files.opening.open.set()
    with pytest.raises(Conflict):
        await soon(trial)
    assert await soon(use)


async def test_a_store_is_a_pool_again_though_it_is_still_being_closed(files: Files) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    await node.pools.store("one")
    files.closing.shut()
    removal = asyncio.create_task(node.placement.remove_pool("one"))
    await soon(files.closing.reached.wait())
    again = asyncio.create_task(node.placement.put_pool(pool("two", "here")))
    await asyncio.sleep(0)
    files.closing.open.set()
    await soon(asyncio.gather(removal, again))
    assert await node.pools.store("two")


async def test_a_pool_that_was_removed_is_closed_whoever_began_to(files: Files) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    await node.pools.store("one")
    files.closing.shut()
    record = await node.records.get("pools", "one")
    await node.records.remove("pools", "one", version=record.version)
    sweep = asyncio.create_task(node.pools.known(afresh=True))  # before the removal gets to it
    await soon(files.closing.reached.wait())
    await node.records.put("pools", "one", record.value, version="")
    removal = asyncio.create_task(node.placement.remove_pool("one"))
    await asyncio.sleep(0)
    files.closing.open.set()
    await soon(asyncio.gather(sweep, removal))
    assert files.held == set()


async def test_the_store_that_a_pool_has_left_is_free_for_another(files: Files) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    await node.pools.store("one")
    await node.placement.put_pool(pool("one", "there"))
    await node.placement.put_pool(pool("two", "here"))
    assert await node.pools.store("one")
    assert await node.pools.store("two")


async def test_a_closing_goes_on_when_the_caller_whose_request_began_it_is_gone(
    files: Files,
) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    await node.pools.store("one")
    files.closing.shut()
    removal = asyncio.create_task(node.placement.remove_pool("one"))
    await soon(files.closing.reached.wait())
    removal.cancel()
    await asyncio.wait([removal])
    files.closing.open.set()
    await soon(node.placement.put_pool(pool("two", "here")))


async def test_a_store_that_fails_while_it_is_looked_at_is_closed(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = files.node()
    await node.placement.put_pool(pool("one", "here"))
    records = files.cluster.store("here").records

    async def fail(*_: Any) -> None:
        raise Unavailable("It is down.")

    with monkeypatch.context() as patch:
        patch.setattr(records, "get", fail)
        with pytest.raises(Unavailable):
            await node.pools.store("one")
    await node.close()
    assert files.held == set()


async def test_what_was_read_about_pools_first_does_not_replace_what_was_read_last(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = files.node()
    catalogue, slow = node.pools._catalogue, Gate()
    read = catalogue.pools

    async def read_and_linger() -> list[Pool]:
        found: list[Pool] = await read()
        await slow.pass_through()
        return found

    slow.shut()
    monkeypatch.setattr(catalogue, "pools", read_and_linger)
    early = asyncio.create_task(node.pools.known(afresh=True))
    await soon(slow.reached.wait())
    monkeypatch.setattr(catalogue, "pools", read)
    await node.placement.put_pool(pool("one", "here"))
    slow.open.set()
    assert list(await soon(early)) == ["one"]
    assert list(await node.pools.known()) == ["one"]
