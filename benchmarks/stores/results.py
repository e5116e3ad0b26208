"""What a run on a store leaves behind: a run like any other, its costs and its curves."""

from pathlib import Path

import msgspec

from benchmarks.report import Run
from benchmarks.stores.costs import Costs
from benchmarks.stores.curves import Curve, draw_curves
from benchmarks.stores.engine import NAMES


class StoreRun(Run, frozen=True, kw_only=True):
    store: str
    costs: Costs
    curves: list[Curve]


def stem_of(store: str) -> str:
    """How the files of a store's run are called."""
    return f"store-{store}"


def write_curves(run: StoreRun, directory: Path) -> list[Path]:
    """The picture of the curves, if there are any."""
    if not run.curves:
        return []
    path = directory / f"{stem_of(run.store)}-curves.svg"
    path.write_text(draw_curves(f"Nuska on {NAMES[run.store]}", run.curves), "utf-8")
    return [path]


def read_run(path: Path) -> StoreRun:
    return msgspec.json.decode(path.read_bytes(), type=StoreRun)
