"""``python -m benchmarks.scale``: what a large installation takes, as Markdown.

Reads what ``python -m benchmarks.stores`` has left in ``benchmarks/results``. With ``--into``
it writes the tables into a page, between the two marks that stand there.
"""

import argparse
import sys
from pathlib import Path
from typing import get_type_hints

from benchmarks.__main__ import RESULTS
from benchmarks.scale.page import page
from benchmarks.scale.reckoning import Unmeasured
from benchmarks.scale.wanted import Wanted
from benchmarks.stores.engine import NAMES
from benchmarks.stores.results import StoreRun, read_run, stem_of

BEGIN, END = "<!-- the tables: make scale -->\n", "<!-- the end of the tables -->\n"
BATCHES = (1, 10)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    options.add_argument("--results", type=Path, default=RESULTS, help=f"default {RESULTS}")
    options.add_argument("--into", type=Path, help="a Markdown page with the two marks")
    kinds = get_type_hints(Wanted)
    for name in Wanted.__struct_fields__:
        if name != "batch":
            flag = f"--{name.replace('_', '-')}"
            default = getattr(Wanted(), name)
            options.add_argument(
                flag, type=kinds[name], default=default, help=f"default {default:g}"
            )
    given = options.parse_args()
    runs = read_runs(given.results)
    wanted = Wanted(
        **{name: getattr(given, name) for name in Wanted.__struct_fields__ if name != "batch"}
    )
    try:
        text = page(runs, wanted, BATCHES)
    except Unmeasured as lack:
        print(f"The results lack what has to be measured first: {lack}", file=sys.stderr)
        return 2
    if given.into is None:
        print(text, end="")
    else:
        given.into.write_text(replaced(given.into.read_text("utf-8"), text), "utf-8")
    return 0


def read_runs(directory: Path) -> dict[str, StoreRun]:
    """The runs of stores that are there, by store."""
    paths = {store: directory / f"{stem_of(store)}.json" for store in NAMES}
    return {store: read_run(path) for store, path in paths.items() if path.exists()}


def replaced(document: str, tables: str) -> str:
    """``document`` with ``tables`` between its marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("the page lacks the marks between which the tables stand")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
