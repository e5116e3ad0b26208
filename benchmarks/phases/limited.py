"""What limits cost that nobody reaches: posts to a server that has them, beside one without.

One client, one request after the other; the sides take turns, so that only the limits differ.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from benchmarks.bench import Bench
from benchmarks.cycle import in_turns
from benchmarks.figures import Figure, at_most
from benchmarks.phases.credentials import WARM_UP, post_to

BOUND = 1.05
"""Median time of a post, beside one to a server without limits."""
NEVER_REACHED = "1000000000"
RATES = {
    "NUSKA_QUOTA_REQUESTS_PER_SECOND": NEVER_REACHED,
    "NUSKA_QUOTA_MESSAGES_PER_SECOND": NEVER_REACHED,
}


def limited(bench: Bench) -> Iterator[Figure]:
    """Posts of a project whose rates are limited; and, to see what chance does, without limits
    on two servers."""
    with ExitStack() as stack:
        sides = {
            name: post_to(bench, stack, f"limited-{number}", "", environment)
            for number, (name, environment) in enumerate(
                {"none": {}, "no limits either": {}, "limited rates": RATES}.items()
            )
        }
        turns: list[Callable[[], None]] = [side.turn for side in sides.values()]
        in_turns(turns, rounds=WARM_UP)
        for side in sides.values():
            side.taken.clear()
        in_turns(turns, rounds=60 if bench.quick else 400)
    base = statistics.median(sides.pop("none").taken)
    for name, side in sides.items():
        ours = statistics.median(side.taken)
        yield Figure(
            phase="limited",
            name=f"post with {name}, beside one without limits",
            value=ours / base,
            unit="×",
            target=at_most(BOUND) if name == "limited rates" else None,
            note=f"median {ours * 1000:.2f} ms, beside {base * 1000:.2f} ms",
        )
