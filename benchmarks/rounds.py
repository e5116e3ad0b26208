"""Runs the sides of a comparison in turns, and prefers the rounds nobody disturbed.

On a machine that does other work, a round in which others took much CPU says little: it is
begun when the machine is calm, if that happens soon enough, and run again when it did not stay
so, up to a bound; the calmest rounds count.
"""

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.processes import busy_seconds
from benchmarks.wrk import Load

CALM = 0.2
"""Cores that others may use during a calm round."""
_GLANCE = 0.3
"""Seconds of looking before the machine is called calm."""
_TRIES = 2
"""Times the wanted number of rounds, at most."""


class Patience:
    """How long one run of the harness may wait, in all, for others to leave the machine alone."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait_for_calm(self) -> None:
        """Return when others use little of the machine, or when patience has run out."""
        while self._left > 0:
            busy, began = busy_seconds(), time.perf_counter()
            time.sleep(_GLANCE)
            took = time.perf_counter() - began
            if (busy_seconds() - busy) / took <= CALM:
                return
            self._left -= took


def compared(
    wanted: int, *sides: Callable[[], Load], patience: Patience | None = None
) -> list[list[Load]]:
    """``wanted`` rounds of every side, one list for each side, in the order given."""
    rounds: list[list[Load]] = []
    while sum(map(_is_calm, rounds)) < wanted and len(rounds) < wanted * _TRIES:
        if patience is not None:
            patience.wait_for_calm()
        turn = len(rounds) % len(sides)
        order = [*range(turn, len(sides)), *range(turn)]
        loads = {index: sides[index]() for index in order}
        rounds.append([loads[index] for index in range(len(sides))])
    kept = sorted(rounds, key=_noise)[:wanted]
    return [list(loads) for loads in zip(*kept, strict=True)]


def rates(loads: Sequence[Load]) -> list[float]:
    """Requests a second of each run."""
    return [load.requests_per_second for load in loads]


def told(loads: Sequence[Load]) -> str:
    """Rate and who used the cores, in words."""
    rate = statistics.median(rates(loads))
    server = statistics.median(load.server_cores for load in loads)
    generator = statistics.median(load.wrk_cores for load in loads)
    others = statistics.median(load.other_cores for load in loads)
    noise = f", others {others:.2f}" if others > CALM else ""
    return f"{rate:,.0f}/s (cores: server {server:.2f}, wrk {generator:.2f}{noise})"


def _is_calm(loads: list[Load]) -> bool:
    return _noise(loads) <= CALM


def _noise(loads: list[Load]) -> float:
    return max(load.other_cores for load in loads)
