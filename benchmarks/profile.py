"""``python -m benchmarks.profile``: where the time of a durable single-message POST goes.

With ``--store`` the server is a node on that store, whose own processes are not looked into.

py-spy samples the server while wrk loads it, the bare handler after it. What the threads used
comes from the kernel; how the event loop's thread divided its own time comes from the samples,
each counted for the innermost frame that belongs to a part named here.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks import servers, wrk
from benchmarks.__main__ import PIPED_WIDTH, TRAVERSABLE, WORK
from benchmarks.processes import Process, cpu_seconds_of_threads
from benchmarks.stores.engine import ENGINES, starter

PARTS = {
    "nuska/stores/sqlite/writer.py": "store: grouping, begin and commit",
    "nuska/stores/": "store: statements and rows",
    "sqlalchemy/": "SQLAlchemy",
    "asyncpg/": "the store's client",
    "asyncmy/": "the store's client",
    "redis/": "the store's client",
    "pymongo/": "the store's client",
    "bson/": "the store's client",
    "nuska/core/": "rules: access, limits, defaults",
    "nuska/domain/": "rules: access, limits, defaults",
    "nuska/transport/wire/": "JSON in and out",
    "nuska/transport/http/": "HTTP API",
    "falcon/": "Falcon",
    "nuska/transport/server/": "HTTP server: protocol, bounds",
    "uvicorn/": "HTTP server: protocol, bounds",
    "bare_asgi.py": "the bare handler",
    "asyncio/runners.py": "event loop and sockets (uvloop)",
    "uvloop/": "event loop and sockets (uvloop)",
    "asyncio/": "asyncio",
}
OTHER = "everything else"
_RATE = 400
"""Samples a second."""
_MARGIN = 2.0
"""Seconds by which the load outlasts the sampling, which takes a moment to begin."""
_NOTHING = 0.05
_THREAD = re.compile(r"^thread \((\d+)\): ([^;]+);", re.MULTILINE)


class Profile(Struct, frozen=True):
    """Microseconds of CPU for each request."""

    requests_per_second: float
    threads: dict[str, float]
    parts: dict[str, float]
    """Of the event loop's thread."""


class NoProfile(Exception):
    """py-spy is missing or may not look."""


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--seconds", type=float, default=6)
    options.add_argument("--store", choices=sorted(ENGINES), help="default: the embedded one")
    options.add_argument("--work", type=Path, default=WORK, help="where the store is put")
    given = options.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    given.work.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="profile-", dir=given.work)).resolve()
    directory.chmod(TRAVERSABLE)
    try:
        with _node(directory, given.store) as nuska:
            ours = take(nuska, directory, given.connections, given.seconds)
        with servers.bare(directory) as bare:
            theirs = take(bare, directory, given.connections, given.seconds)
    except NoProfile as error:
        console.print(f"[red]{error}[/]")
        return 2
    finally:
        shutil.rmtree(directory)
    console.print(_table("Threads", ours.threads, theirs.threads))
    console.print(_table("The event loop's thread", ours.parts, theirs.parts))
    console.print(
        f"while sampled: {ours.requests_per_second:,.0f} requests/s, "
        f"bare {theirs.requests_per_second:,.0f}/s",
        style="dim",
    )
    return 0


@contextmanager
def _node(directory: Path, store: str | None) -> Iterator[Process]:
    """A server on the embedded store, or on another one that is started for it."""
    with ExitStack() as stack:
        options: tuple[str, ...] = ()
        if store is not None:
            engine = stack.enter_context(starter(store)(directory / store))
            options = ("--store", asyncio.run(engine.space("profile")))
        yield stack.enter_context(servers.nuska(directory / "data", *options))


def take(server: Process, directory: Path, connections: int, seconds: float) -> Profile:
    """Load ``server`` and sample it."""
    spy = shutil.which("py-spy", path=_search_path())
    if spy is None:
        raise NoProfile("py-spy is not installed: pip install py-spy")
    url = f"{server.url}/v2/queues/jobs/messages"
    wrk.run("post", url, servers=server.pids, connections=connections, seconds=1)
    output = directory / f"{server.name}.samples"
    command = [spy, "record", "--pid", str(server.pid), "--duration", str(round(seconds))]
    command += ["--rate", str(_RATE), "--format", "raw", "--threads", "--function"]
    command += ["--full-filenames", "--output", str(output)]
    sampling = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    before = cpu_seconds_of_threads(server.pid)
    load = wrk.run(
        "post", url, servers=server.pids, connections=connections, seconds=seconds + _MARGIN
    )
    after = cpu_seconds_of_threads(server.pid)
    _, complaints = sampling.communicate()
    if sampling.returncode != 0:
        raise NoProfile(f"py-spy could not look: {complaints.decode(errors='replace')[-500:]}")
    samples = output.read_text("utf-8")
    names = {**thread_names(samples), server.pid: "event loop"}
    micros: dict[str, float] = {}
    for thread, used in after.items():
        name = names.get(thread, "others")
        spent = (used - before.get(thread, 0.0)) / load.report.requests * 1e6
        micros[name] = micros.get(name, 0.0) + spent
    loop = micros["event loop"]
    return Profile(
        requests_per_second=load.requests_per_second,
        threads={name: spent for name, spent in micros.items() if spent >= _NOTHING},
        parts={part: share * loop for part, share in parts_of(samples).items()},
    )


def thread_names(samples: str) -> dict[int, str]:
    """The threads that were seen at work, by their ids: ``thread (17): name;frame;… 3``."""
    found = _THREAD.findall(samples)
    return {int(thread): name for thread, name in found}


def parts_of(samples: str) -> dict[str, float]:
    """Each part's share of the main thread's samples; ``samples`` are py-spy's raw lines."""
    counts: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if thread.endswith("MainThread"):
            counts[_part(frames)] += int(count)
    total = counts.total()
    return {part: count / total for part, count in counts.most_common()}


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        for path, part in PARTS.items():
            if path in frame:
                return part
    return OTHER


def _search_path() -> str:
    """This environment's programs first, whether or not it is activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _table(title: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("µs of CPU for each POST")
    table.add_column("Nuska", justify="right")
    table.add_column("share", justify="right")
    table.add_column("bare ASGI", justify="right")
    total = sum(ours.values())
    for name in sorted({*ours, *theirs}, key=lambda name: -ours.get(name, 0.0)):
        used, bare = ours.get(name), theirs.get(name)
        table.add_row(
            name,
            "" if used is None else f"{used:.1f}",
            "" if used is None else f"{used / total:.0%}",
            "" if bare is None else f"{bare:.1f}",
        )
    table.add_section()
    table.add_row("all", f"{total:.1f}", "", f"{sum(theirs.values()):.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
