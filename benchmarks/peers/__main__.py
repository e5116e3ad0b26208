"""``python -m benchmarks.peers``: posts, claims and deletes a second, beside other brokers.

One producer and one worker, in phases, all on one machine; every broker is started for it with
data of its own, and runs in turns with Nuska. Exit status 1 when a target is missed.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from rich.console import Console

from benchmarks.__main__ import PIPED_WIDTH, RESULTS
from benchmarks.figures import Figure
from benchmarks.machine import describe
from benchmarks.peers.beanstalkd import beanstalkd
from benchmarks.peers.comparison import CALMEST, Pair, Side, compare, rates
from benchmarks.peers.nats_jetstream import jetstream
from benchmarks.peers.ours import nuska
from benchmarks.peers.peer import JOB_BYTES, Opened
from benchmarks.peers.phases import CLAIM_SIZE
from benchmarks.peers.rabbitmq import rabbitmq
from benchmarks.peers.redis_streams import always, everysec, pipelined
from benchmarks.report import finished, print_table, write_results

CACHE = Path(".cache") / "bench-peers"
JOBS, ROUNDS = 10_000, 9
QUICK_JOBS, QUICK_ROUNDS = 2_000, 3
PEERS: Mapping[str, Opened] = {
    "rabbitmq": rabbitmq,
    "nats": jetstream,
    "redis-always": always,
    "redis-pipelined": pipelined,
    "redis-everysec": everysec,
    "beanstalkd": beanstalkd,
}
TO_BEAT = ("rabbitmq", "nats", "redis-always")
"""Of these Nuska has to be ahead in each phase."""
ABOUT = (
    f"Jobs of {JOB_BYTES} bytes, each posted by a call of its own, up to {CLAIM_SIZE} in a claim; "
    "what was claimed together is deleted together where the broker can. Each client is as its "
    "users have it; how many calls it has under way at once is in the notes.",
    "One process is producer and worker, on uvloop; broker and process share the machine's cores.",
    "Nuska and the other broker run in turns; a ratio is the median of those of the "
    f"{CALMEST} rounds in which others used least of the machine.",
)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    options.add_argument("--quick", action="store_true", help="few jobs, rough figures")
    options.add_argument("--only", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    options.add_argument("--out", type=Path, default=None, help=f"default {RESULTS}")
    given = options.parse_args()
    chosen = [name for name in given.only.split(",") if name in PEERS]
    if not chosen:
        options.error(f"--only takes some of {', '.join(PEERS)}")
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    CACHE.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE)).resolve()
    began, machine = datetime.now(UTC), describe(directory)
    jobs, rounds = (QUICK_JOBS, QUICK_ROUNDS) if given.quick else (JOBS, ROUNDS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            pairs = runner.run(_pairs(chosen, directory, jobs, rounds, console))
    finally:
        shutil.rmtree(directory)
    run = finished(
        title="Nuska beside other brokers",
        began=began,
        quick=given.quick,
        machine=machine,
        about=[*ABOUT, f"{jobs} jobs a round, up to {rounds} rounds."],
        figures=_figures(pairs),
    )
    print_table(run, console)
    whole = not given.quick and set(chosen) == set(PEERS)
    write_results(run, given.out or (RESULTS if whole else CACHE / "results"), "peers")
    return 1 if run.missed else 0


async def _pairs(
    chosen: list[str], directory: Path, jobs: int, rounds: int, console: Console
) -> list[Pair]:
    found = []
    for name in chosen:
        console.log(f"measuring {name}")
        pair = await compare(name, nuska, PEERS[name], directory, jobs=jobs, rounds=rounds)
        found.append(pair)
    return found


def _figures(pairs: list[Pair]) -> list[Figure]:
    first = pairs[0].ours
    ours = Side(first.name, first.terms, [one for pair in pairs for one in pair.ours.rounds])
    figures = [*rates(ours)]
    for pair in pairs:
        figures += rates(pair.theirs)
    for pair in pairs:
        figures += pair.ratios(target=pair.name in TO_BEAT)
    return figures


if __name__ == "__main__":
    sys.exit(main())
