"""What every phase of a store is given: the engine that runs, nodes on it, and an event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from benchmarks import filling, servers
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.processes import Process
from benchmarks.rounds import Patience
from benchmarks.states import State
from benchmarks.stores.costs import Costs
from benchmarks.stores.curves import Curve
from benchmarks.stores.engine import Engine, Held

T = TypeVar("T")


class StoreBench(Bench):
    """One run on one store. What phases find out beside figures is gathered here."""

    def __init__(
        self,
        directory: Path,
        name: str,
        engine: Engine,
        *,
        quick: bool,
        patience: Patience,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(directory, quick=quick, patience=patience, say=say)
        self.name = name
        self.engine = engine
        self.costs = Costs()
        self.curves: list[Curve] = []
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """Await ``doing`` on the one loop of this run."""
        return self._runner.run(doing)

    @property
    def turns(self) -> int:
        """How often each side of a comparison of single requests has its turn."""
        return 25 if self.quick else 150

    @contextmanager
    def nodes(self, name: str, count: int = 1) -> Iterator[list[Process]]:
        """Nodes on an empty store called ``name``."""
        with self.nodes_at(self.run(self.engine.space(name)), name, count) as nodes:
            yield nodes

    @contextmanager
    def nodes_at(
        self, url: str, name: str, count: int = 1, *, options: Sequence[str] = ()
    ) -> Iterator[list[Process]]:
        """Nodes on the store at ``url``, each started with ``options``."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    servers.nuska(
                        self.fresh(f"{name}-{number}"),
                        *("--store", url, *options),
                        name=f"{name}-{number}",
                    )
                )
                for number in range(1, count + 1)
            ]

    def filled(self, name: str, state: State) -> tuple[str, Held]:
        """A store called ``name`` in a state: its URL, and what the state takes there."""
        url = self.run(self.engine.space(name))
        self.run(filling.in_store_at(url, _nothing, data=self.directory))
        before = self.run(self.engine.held(name))
        self.say(f"preparing {name}")
        self.run(filling.in_store_at(url, state, data=self.directory))
        return url, self.run(self.engine.held(name)).since(before)

    def close(self) -> None:
        self._runner.close()


async def _nothing(_store: object) -> None:
    """Opening it has made the tables."""


StorePhase = Callable[[StoreBench], Iterable[Figure]]
