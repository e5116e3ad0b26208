"""The tests that every engine of the harness passes: what runs raw does what Nuska does.

``tests/benchmarks`` runs them, in a file for each store, so that they are left out where that
store is not asked for.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import TRAVERSABLE
from benchmarks.filling import small, wall_clock
from benchmarks.rounds import Patience
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.engine import RAW_QUEUE, Engine, starter
from benchmarks.stores.sides import OPERATIONS, ByApi, ByClient
from benchmarks.wire import Connection
from nuska.interfaces.storage import Store


class EngineTests:
    """A subclass says which store."""

    STORE = ""

    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        """Not below ``tmp_path``, which a server that runs as another user cannot reach."""
        with tempfile.TemporaryDirectory(prefix="nuska-bench-") as directory:
            Path(directory).chmod(TRAVERSABLE)
            with starter(self.STORE)(Path(directory) / self.STORE) as running:
                yield running

    @pytest.fixture
    def bench(self, engine: Engine, tmp_path: Path) -> Iterator[StoreBench]:
        bench = StoreBench(
            tmp_path, self.STORE, engine, quick=True, patience=Patience(0), say=lambda _: None
        )
        yield bench
        bench.close()

    def test_a_raw_client_claims_the_oldest_and_what_it_deletes_is_gone(
        self, bench: StoreBench
    ) -> None:
        async def scenario() -> tuple[list[object], list[object], list[object]]:
            raw = await bench.engine.raw("raw")
            try:
                posted = [*await raw.post([small()]), *await raw.post([small()] * 3)]
                await raw.delete(posted[:1])
                claimed = await raw.claim(2)
                await raw.delete(claimed)
                return posted, claimed, await raw.claim(10)
            finally:
                await raw.close()

        posted, claimed, rest = bench.run(scenario())
        assert claimed == posted[1:3]
        assert rest == posted[3:]

    def test_both_sides_of_a_comparison_do_every_operation(self, bench: StoreBench) -> None:
        clients = [bench.run(bench.engine.raw(name)) for name in ("raw-turns", "raw-kept")]
        with bench.nodes("node") as [node], Connection(node.port) as connection:
            sides = [ByApi(connection), ByClient(*clients, bench.run)]
            for side in sides:
                side.block()
        for client in clients:
            bench.run(client.close())
        for side in sides:
            counts = {name: len(taken) for name, taken in side.taken.items()}
            assert set(counts) == set(OPERATIONS)
            assert len(set(counts.values())) == 1

    def test_a_store_of_its_own_is_empty_and_says_what_it_holds(self, bench: StoreBench) -> None:
        async def fill(store: Store) -> None:
            assert await store.queues.get(RAW_QUEUE) is None
            await store.messages.add(RAW_QUEUE, [small()] * 100, now=wall_clock())

        url, held = bench.filled("one", fill)
        other, _ = bench.filled("other", fill)
        assert url != other
        assert held.memory + held.disk >= 0
        assert bench.engine.pids()
        assert bench.engine.about
        assert all(count >= 0 for count in bench.run(bench.engine.steps()).values())
