"""Kills real nodes again and again while clients work, and says what became of it all.

    python -m nuska.testing.kill_harness --kills 50
    python -m nuska.testing.kill_harness --kills 50 --store redis

Nodes get SIGKILL at random moments, also while they start, and are started again on the same
data; kill_clients.py works on meanwhile, at another node if there is one. By the name of an
engine, the engine is started too, and killed as well: it then has to keep what it promised.
With the URL of a store only nodes are killed. At the end a walk through every queue finds what
is left, and verdicts.py compares. What a killed process leaves in the page cache survives, so
this says nothing about syncs: for those see power_loss.py.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from nuska.testing.engine import Engine
from nuska.testing.engines import ENGINES
from nuska.testing.histories import Found
from nuska.testing.kill_clients import QUEUES, Clients, messages_of
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient
from nuska.testing.raw_http import Answer
from nuska.testing.verdicts import Report, judge

SHORTEST_LIFE, LONGEST_LIFE = 0.15, 1.3
"""Seconds between the moment when a node is ready and the next end of one."""
KILLED_AT_START = 0.1
"""The share of starts that are not let to finish."""
ALL_AT_ONCE = 0.15
"""The share of kills that take every node."""
ENGINE_KILLED = 0.25
"""The share of rounds in which the engine is killed too, where it is ours."""
LONGEST_OUTAGE = 1.0
"""Seconds without the engine."""
NODES = 3
"""On a store that nodes share."""
DRAINED_WITHIN = 90.0
"""Seconds for one request after the last kill: what a killed node had begun may be in the way until
the engine gives it up, which takes MongoDB a minute."""
MAX_PAGE = 20
EMBEDDED = "sqlite:"


class Outcome(Struct, kw_only=True):
    """What a run came to."""

    report: Report
    nodes: int
    kills: int
    engine_kills: int
    requests: int
    seconds: float

    def __str__(self) -> str:
        head = f"{self.nodes} nodes: {self.kills} kills, {self.engine_kills} of the store, "
        head += f"{self.requests} requests in {self.seconds:.0f} s"
        return "\n".join([head, str(self.report), *self.report.problems])


class Harness:
    """Some nodes, their clients, and the engine below if it may be killed."""

    def __init__(
        self, data: Path, seed: int, *, store: str, nodes: int, engine: Engine | None
    ) -> None:
        self._random = Random(seed)
        self._nodes = NodeGroup(data, nodes, store, Random(seed + 2))
        self._turn = cycle(self._nodes.processes)
        self._engine = engine
        self.kills = 0
        self.engine_kills = 0
        self.clients = Clients(Random(seed + 1), self._nodes.port, self._nodes.up)

    async def run(self, kills: int) -> Report:
        """Work and kill, then drain and judge."""
        clients = self.clients
        async with self._nodes:
            await clients.prepare()
            async with asyncio.TaskGroup() as group:
                clients.start(group)
                while self.kills < kills:
                    await asyncio.sleep(self._life())
                    if self._engine is not None and self._random.random() < ENGINE_KILLED:
                        await self._kill_engine(self._engine)
                    else:
                        await self._kill_nodes()
                await asyncio.sleep(self._life())
                clients.stopping = True
            await self._nodes.recovered()
            async with clients.connect() as client:
                clients.history.found = await drain(client)
        return judge(clients.history)

    def _life(self) -> float:
        return self._random.uniform(SHORTEST_LIFE, LONGEST_LIFE)

    async def _kill_nodes(self) -> None:
        """The next one, or all; the others serve on while it starts again."""
        victims = [next(self._turn)]
        if self._random.random() < ALL_AT_ONCE:
            victims = list(self._nodes.processes)
        await self._nodes.kill(victims)
        self.kills += len(victims)
        for victim in victims:
            if self._random.random() < KILLED_AT_START:
                victim.launch()
                await asyncio.sleep(self._random.uniform(0.05, 0.5))
                await asyncio.to_thread(victim.kill)
                self.kills += 1
            await self._nodes.start(victim)

    async def _kill_engine(self, engine: Engine) -> None:
        await asyncio.to_thread(engine.kill)
        self.engine_kills += 1
        await asyncio.sleep(self._random.uniform(0, LONGEST_OUTAGE))
        await asyncio.to_thread(engine.start)
        await self._nodes.recovered()


async def drain(client: PlainClient) -> list[Found]:
    """Walk through everything that is left, delete it, and see that nothing is left."""
    everything = []
    for queue in QUEUES:
        found = await _walk(client, queue)
        everything += found
        for start in range(0, len(found), MAX_PAGE):
            ids = ",".join(one.id for one in found[start : start + MAX_PAGE])
            await _insist(client, "DELETE", f"/v2/queues/{queue}/messages?ids={ids}", 204)
        stats = await _insist(client, "GET", f"/v2/queues/{queue}/stats", 200)
        left = msgspec.json.decode(stats.body)["messages"]["total"]
        assert left == 0, f"{left} left in {queue} after all were deleted"
    return everything


async def _insist(client: PlainClient, method: str, target: str, status: int) -> Answer:
    """The answer with this status; one that says "not now" is waited out, within a bound."""
    async with asyncio.timeout(DRAINED_WITHIN):
        while True:
            answer = await client.ask(method, target)
            if answer.status == status:
                return answer
            assert answer.status == 503, answer
            await asyncio.sleep(1)


async def _walk(client: PlainClient, queue: str) -> list[Found]:
    """Every message of a queue, claimed and delayed ones too, by following the links."""
    found: list[Found] = []
    target = (
        f"/v2/queues/{queue}/messages?limit={MAX_PAGE}"
        "&echo=true&include_claimed=true&include_delayed=true"
    )
    while True:
        answer = await _insist(client, "GET", target, 200)
        messages = messages_of(answer)
        if not messages:
            return found
        found += [Found(queue=queue, id=one, body=body) for one, body in messages]
        target = msgspec.json.decode(answer.body)["links"][0]["href"]


async def kill_and_judge(
    data: Path,
    *,
    kills: int,
    seed: int,
    store: str = EMBEDDED,
    nodes: int = 0,
    with_engine: bool = True,
) -> Outcome:
    """The whole run on ``data``, which should be empty, and on ``store``: a URL, or the name of
    an engine. ``nodes`` 0 is as many as make sense there."""
    with ExitStack() as stack:
        engine = None
        if store in ENGINES:
            engine = stack.enter_context(ENGINES[store](data / "engine"))
            store = engine.new_url()
        nodes = nodes or (1 if store.startswith(EMBEDDED) else NODES)
        killable = engine if with_engine else None
        harness = Harness(data, seed, store=store, nodes=nodes, engine=killable)
        began = time.monotonic()
        report = await harness.run(kills)
    return Outcome(
        report=report,
        nodes=nodes,
        kills=harness.kills,
        engine_kills=harness.engine_kills,
        requests=harness.clients.requests,
        seconds=time.monotonic() - began,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill nodes while clients work.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument(
        "--store", default=EMBEDDED, help=f"a URL, or one of {', '.join(ENGINES)}: started for it"
    )
    parser.add_argument("--nodes", type=int, default=0, help="three, where the store is shared")
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    with tempfile.TemporaryDirectory() as data:
        run = kill_and_judge(
            Path(data), kills=chosen.kills, seed=chosen.seed, store=chosen.store, nodes=chosen.nodes
        )
        outcome = asyncio.run(run)
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
