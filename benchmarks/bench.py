"""What every phase is given: where to work, how long to measure, and a shared million."""

import shutil
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from benchmarks import filling, servers
from benchmarks.figures import Figure
from benchmarks.rounds import Patience, compared
from benchmarks.states import QUEUE
from benchmarks.wrk import Load

MILLION_QUEUE = QUEUE


class Million(Struct, frozen=True, kw_only=True):
    """A data directory with a great queue, filled through the API, its server stopped."""

    data: Path
    count: int
    fill_seconds: float
    rss_bytes: int
    """Resident memory of the server after it took the last post."""
    peak_rss_bytes: int


class Bench:
    """One run of the harness. Everything a phase leaves behind lies under ``directory``."""

    def __init__(
        self, directory: Path, *, quick: bool, patience: Patience, say: Callable[[str], None]
    ) -> None:
        self.directory = directory
        self.quick = quick
        self.patience = patience
        self.say = say

    def compared(self, *sides: Callable[[], Load]) -> list[list[Load]]:
        """Rounds of every side, in turns; see ``rounds.compared``."""
        return compared(self.rounds, *sides, patience=self.patience)

    @property
    def rounds(self) -> int:
        """How often each side of a comparison by wrk is run."""
        return 2 if self.quick else 5

    @property
    def seconds(self) -> float:
        """Length of one run of wrk."""
        return 1 if self.quick else 3

    def scaled(self, count: int) -> int:
        """``count`` messages, or a hundredth of them in a quick run."""
        return max(10, count // 100) if self.quick else count

    def fresh(self, name: str) -> Path:
        """A data directory that does not exist yet."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def copy_of_million(self, name: str) -> Path:
        path = self.fresh(name)
        shutil.copytree(self.million.data, path)
        return path

    @cached_property
    def million(self) -> Million:
        """Built once for all phases of a run."""
        count = self.scaled(1_000_000)
        data = self.fresh("million")
        self.say(f"filling a queue with {count} messages through the API")
        with servers.nuska(data) as server:
            took = filling.by_api(server.port, MILLION_QUEUE, count)
            return Million(
                data=data,
                count=count,
                fill_seconds=took,
                rss_bytes=server.rss_bytes(),
                peak_rss_bytes=server.peak_rss_bytes(),
            )


Phase = Callable[[Bench], Iterable[Figure]]
