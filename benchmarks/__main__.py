"""``python -m benchmarks``: measures Nuska and says which targets are met.

Exit status 1 when a target is missed, 2 when a phase could not be measured.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.machine import describe
from benchmarks.phases import PHASES
from benchmarks.processes import Noise
from benchmarks.report import finished, print_table, write_results
from benchmarks.rounds import Patience

RESULTS = Path(__file__).resolve().parent / "results"
WORK = Path(".cache") / "bench"
"""Below the working directory: a temporary directory may be memory, where syncs are free."""
PATIENCE = 60.0
PATIENCE_HELP = "seconds to wait, in all, for others to leave the machine alone; default 60"
PIPED_WIDTH = 150
TRAVERSABLE = 0o711
"""Mode of a directory that servers of other users reach theirs through."""
ABOUT = (
    "Load generator, server and yardstick share the same cores and take turns; a ratio is the "
    "median of the ratios of neighbouring rounds.",
    "Every post is on disk before its 201: `nuska serve` as it comes.",
)

AnyBench = TypeVar("AnyBench", bound=Bench)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--only", default="", help=f"phases, by commas: {', '.join(PHASES)}")
    options.add_argument("--quick", action="store_true", help="small and rough, in a minute or two")
    options.add_argument("--patience", type=float, default=PATIENCE, help=PATIENCE_HELP)
    options.add_argument("--work", type=Path, default=WORK, help="where the stores are put")
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
    began, machine = datetime.now(UTC), describe(directory)
    bench = Bench(directory, quick=given.quick, patience=Patience(given.patience), say=console.log)
    try:
        figures, failed = measure({name: PHASES[name] for name in names}, bench, console)
    finally:
        shutil.rmtree(directory)
    run = finished(
        title="Nuska: figures and targets",
        began=began,
        quick=given.quick,
        machine=machine,
        about=ABOUT,
        figures=figures,
    )
    print_table(run, console)
    for path in write_results(run, out, "bench"):
        console.print(f"wrote {path}", style="dim")
    for name, reason in failed.items():
        console.print(f"[red]{name} could not be measured:[/] {reason}")
    return 2 if failed else int(bool(run.missed))


def measure(
    phases: Mapping[str, Callable[[AnyBench], Iterable[Figure]]], bench: AnyBench, console: Console
) -> tuple[list[Figure], dict[str, str]]:
    """Every figure of the phases, and why a phase has none."""
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    for name, phase in phases.items():
        bench.patience.wait_for_calm()
        noise = Noise()
        with console.status(f"measuring {name}"):
            try:
                figures += phase(bench)
            except Exception as error:  # the other phases still have something to say
                failed[name] = f"{type(error).__name__}: {error}"
        outcome = "failed" if name in failed else "done"
        console.log(f"{name}: {outcome} in {noise.seconds():.0f} s; {noise}")
    return figures, failed


if __name__ == "__main__":
    sys.exit(main())
