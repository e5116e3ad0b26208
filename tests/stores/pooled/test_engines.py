"""A queue moves between two kinds of store while it is in use: nothing lost, doubled or reordered.

The engines that a run asks for and the embedded store stand in a ring, and it runs on every two
neighbours, to and fro; on the embedded store alone where none is asked for. What is carried does
not know where it comes from, so a ring shows of every engine that it gives and takes. The first
of the two also keeps the catalogue.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nuska.domain.pools import Pool
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.interfaces.storage import Store
from nuska.stores.pooled import PooledStore, pooled
from nuska.stores.pooled.catalogue import POOLS
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.engines import ENGINES
from nuska.testing.opening import open_by_url

EMBEDDED = "sqlite"
MOVES = 4
POSTERS, WORKERS, POSTS_EACH = 2, 2, 20

NewUrl = Callable[[], str]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asked = str(metafunc.config.getoption("stores")).split(",")
    engines = [name for name in ENGINES if name in asked]
    pairs = list(pairwise([EMBEDDED, *engines])) or [(EMBEDDED, EMBEDDED)]
    if len(engines) > 1:  # closes the ring; no shared catalogue can have the embedded one as a pool
        pairs.append((EMBEDDED, engines[-1]))
    metafunc.parametrize("ends", pairs, ids="-".join, indirect=True, scope="module")


@pytest.fixture(scope="module")
def ends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[NewUrl]]:
    """Servers of both kinds, by what gives a new store there."""
    with ExitStack() as stack:

        def start(name: str) -> NewUrl:
            directory = tmp_path_factory.mktemp(name)
            if name == EMBEDDED:
                return lambda: f"sqlite://{tmp_path_factory.mktemp(name) / 'queues.db'}"
            return stack.enter_context(ENGINES[name](Path(directory))).new_url

        yield [start(name) for name in request.param]


class Nodes:
    """Nodes over stores on real servers; these are opened once, and outlive the nodes."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.clock = ManualClock()
        self._urls = urls
        self._stores: dict[str, PoolableStore] = {}

    async def start(self) -> None:
        for pool, url in self._urls.items():
            store = await open_by_url(
                url, now=self.clock.now(), random_bytes=seeded_bytes(len(self._stores))
            )
            assert isinstance(store, PoolableStore)
            self._stores[pool] = store
        for name, weight in (("a", 10), ("b", 0)):
            pool = msgspec.json.encode(Pool(name=name, uri=name, weight=weight))
            await self._stores["own"].records.put(POOLS, name, pool, version=ABSENT)

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()

    async def open_pool(self, uri: str) -> PoolableStore:
        return self._stores[uri]

    def node(self) -> PooledStore:
        return pooled(self._stores["own"], self.open_pool, self.clock, seeded_bytes(99))

    def inbox(self, node: Store) -> Inbox:
        return Inbox(node, self.clock)


@pytest.fixture
async def nodes(ends: list[NewUrl]) -> AsyncIterator[Nodes]:
    one, other = ends
    nodes = Nodes({"own": one(), "a": one(), "b": other()})
    try:
        await nodes.start()
        yield nodes
    finally:
        await nodes.close()


async def test_nothing_is_lost_doubled_or_reordered_between_two_engines_nor_in_the_log(
    nodes: Nodes, load_on: Any
) -> None:
    load = load_on(nodes, POSTERS, WORKERS, POSTS_EACH)
    await load.last_through(MOVES)
    await load.check()
