"""``python -m benchmarks.stores --store redis``: measures Nuska on a shared store.

Starts the real server itself, with settings that sync every acknowledged write. Exit status 1
when a target is missed, 2 when a phase could not be measured.
"""

import argparse
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import asdict
from rich.console import Console

from benchmarks.__main__ import (
    PATIENCE,
    PATIENCE_HELP,
    PIPED_WIDTH,
    RESULTS,
    TRAVERSABLE,
    WORK,
    measure,
)
from benchmarks.machine import describe
from benchmarks.report import finished, print_table, write_results
from benchmarks.rounds import Patience
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.engine import ENGINES, NAMES, starter
from benchmarks.stores.phases import PHASES
from benchmarks.stores.results import StoreRun, stem_of, write_curves

ABOUT = (
    "Load generator, nodes and store share the same cores; sides take turns. A ratio of rates is "
    "the median of the ratios of neighbouring rounds, a ratio of times that of the medians.",
)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    options.add_argument("--store", required=True, choices=sorted(ENGINES))
    options.add_argument("--only", default="", help=f"phases, by commas: {', '.join(PHASES)}")
    options.add_argument("--quick", action="store_true", help="small and rough, in some minutes")
    options.add_argument("--patience", type=float, default=PATIENCE, help=PATIENCE_HELP)
    options.add_argument("--work", type=Path, default=WORK, help="where the data are put")
    options.add_argument("--out", type=Path, default=None, help=f"default {RESULTS}")
    given = options.parse_args()
    names = [name for name in given.only.split(",") if name] or list(PHASES)
    if unknown := [name for name in names if name not in PHASES]:
        options.error(f"no such phase: {', '.join(unknown)}")

    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    whole = not given.only and not given.quick
    out = given.out or (RESULTS if whole else given.work / "results")
    given.work.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=given.work)).resolve()
    directory.chmod(TRAVERSABLE)
    began, machine = datetime.now(UTC), describe(directory)
    try:
        with starter(given.store)(directory / given.store) as engine:
            bench = StoreBench(
                directory,
                given.store,
                engine,
                quick=given.quick,
                patience=Patience(given.patience),
                say=console.log,
            )
            try:
                figures, failed = measure({name: PHASES[name] for name in names}, bench, console)
            finally:
                bench.close()
            about = [engine.about, *ABOUT]
    finally:
        shutil.rmtree(directory)
    run = StoreRun(
        **asdict(
            finished(
                title=f"Nuska on {NAMES[given.store]}: figures and targets",
                began=began,
                quick=given.quick,
                machine=machine,
                about=about,
                figures=figures,
            )
        ),
        store=given.store,
        costs=bench.costs,
        curves=bench.curves,
    )
    print_table(run, console)
    for path in (*write_results(run, out, stem_of(given.store)), *write_curves(run, out)):
        console.print(f"wrote {path}", style="dim")
    for name, reason in failed.items():
        console.print(f"[red]{name} could not be measured:[/] {reason}")
    return 2 if failed else int(bool(run.missed))


if __name__ == "__main__":
    sys.exit(main())
