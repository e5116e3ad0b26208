"""What subscribers cost whoever posts, where a process of its own tells them.

Posts go to a node that takes requests alone; the same posts go, in turns, to a queue that nobody
subscribes to. What is left of the cost is the announcement that a post writes, and what both
processes and the receiver take from the cores that the post and the store need.
"""

import statistics
from collections.abc import Iterator
from functools import partial

from benchmarks import servers
from benchmarks.figures import Figure, at_most, ratio_of_rounds
from benchmarks.phases.delivering import QUEUE, SUBSCRIBERS, receiving, subscribe, timed_posts
from benchmarks.stores.bench import StoreBench

TARGET = 1.5
DELIVERIES_PER_SECOND = 500
"""What the other process is given to do, whatever the number of subscribers: less than half of what
it sustains."""


def told(bench: StoreBench) -> Iterator[Figure]:
    """The median post to a queue with 1 and 100 subscribers, told by another process."""
    for webhooks in SUBSCRIBERS:
        url = bench.run(bench.engine.space(f"told-{webhooks}"))
        pace = DELIVERIES_PER_SECOND / webhooks
        with (
            receiving(bench.directory, webhooks) as receiver,
            bench.nodes_at(url, f"takes-{webhooks}", options=("--role", "api")) as [node],
            servers.teller(bench.fresh(f"tells-{webhooks}"), url),
        ):
            subscribe(node, receiver, webhooks)
            sides = [
                partial(timed_posts, bench, node, receiver, queue, pace, count)
                for queue, count in ((QUEUE, webhooks), ("alone", 0))
            ]
            rounds = [[side() for side in sides] for _ in range(bench.rounds)]
        followed, alone = zip(*rounds, strict=True)
        yield Figure(
            phase="told",
            name=f"median post to a queue with {webhooks} subscribers, beside none",
            value=ratio_of_rounds(followed, alone),
            unit="×",
            target=at_most(TARGET),
            note=f"{statistics.median(followed) * 1000:.2f} ms beside "
            f"{statistics.median(alone) * 1000:.2f} ms; {pace:,.0f} posts/s, "
            f"{pace * webhooks:,.0f} deliveries/s, told by another process",
        )
