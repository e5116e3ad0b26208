"""What limits cost that nobody reaches: posts to a server that has them, beside one without.

One client, one request after the other; the sides take turns, so that only the limits differ. They
cost less than the disk's moods, so it is processor time that is compared.
"""

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import servers
from benchmarks.bench import Bench
from benchmarks.cycle import in_turns
from benchmarks.figures import Figure, at_most
from benchmarks.phases.credentials import BODY, MESSAGES, WARM_UP, Posts
from benchmarks.processes import cpu_seconds
from benchmarks.wire import Connection, request

BOUND = 1.05
"""Processor time of a server for a post, beside one without limits."""
NEVER_REACHED = "1000000000"
RATES = {
    "NUSKA_QUOTA_REQUESTS_PER_SECOND": NEVER_REACHED,
    "NUSKA_QUOTA_MESSAGES_PER_SECOND": NEVER_REACHED,
}
SIDES = {"none": {}, "no limits either": {}, "limited rates": RATES}
"""Environments of servers. Two without limits show what chance does."""


def limited(bench: Bench) -> Iterator[Figure]:
    """Posts of a project whose rates are limited."""
    with ExitStack() as stack:
        sides = {
            name: _Server(bench, stack, f"limited-{number}", environment)
            for number, (name, environment) in enumerate(SIDES.items())
        }
        turns = [side.posts.turn for side in sides.values()]
        in_turns(turns, rounds=WARM_UP)
        for side in sides.values():
            side.begin()
        in_turns(turns, rounds=200 if bench.quick else 2_000)
        base = sides.pop("none").cpu_for_a_post()
        for name, side in sides.items():
            ours = side.cpu_for_a_post()
            yield Figure(
                phase="limited",
                name=f"processor time of a post with {name}, beside none",
                value=ours / base,
                unit="×",
                target=at_most(BOUND) if name == "limited rates" else None,
                note=f"{ours * 1e6:.0f} µs, beside {base * 1e6:.0f} µs",
            )


class _Server:
    """A server with some limits, and posts to it."""

    def __init__(
        self, bench: Bench, stack: ExitStack, data: str, environment: dict[str, str]
    ) -> None:
        directory = bench.directory / data
        self._nuska = stack.enter_context(
            servers.nuska(directory, name=data, environment=environment)
        )
        connection = stack.enter_context(Connection(self._nuska.port))
        self.posts = Posts(connection, request("POST", MESSAGES, BODY))
        self.posts.turn()  # a connection that says nothing for long is closed
        self._before = 0.0

    def begin(self) -> None:
        self.posts.taken.clear()
        self._before = cpu_seconds([self._nuska.pid])

    def cpu_for_a_post(self) -> float:
        return (cpu_seconds([self._nuska.pid]) - self._before) / len(self.posts.taken)
