"""Kills the real server again and again while clients work, and says what became of it all.

    python -m nuska.testing.kill_harness --kills 50

The server gets SIGKILL at random moments, also while it starts, and is started again on the
same data; kill_clients.py works on meanwhile. At the end a walk through every queue finds
what is left, and verdicts.py compares. What a killed process leaves in the page cache
survives, so this says nothing about syncs: for those see power_loss.py.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from nuska.testing.histories import Found
from nuska.testing.kill_clients import QUEUES, Clients, messages_of
from nuska.testing.plain_http import PlainClient
from nuska.testing.server_process import ServerProcess
from nuska.testing.verdicts import Report, judge

SHORTEST_LIFE, LONGEST_LIFE = 0.15, 1.3
"""Seconds between the moment when the server is ready and its end."""
KILLED_AT_START = 0.1
"""The share of starts that are not let to finish."""
MAX_PAGE = 20


class Outcome(Struct, kw_only=True):
    """What a run came to."""

    report: Report
    kills: int
    requests: int
    seconds: float

    def __str__(self) -> str:
        head = f"{self.kills} kills, {self.requests} requests in {self.seconds:.0f} s"
        return "\n".join([head, str(self.report), *self.report.problems])


class Harness:
    """One server and its clients."""

    def __init__(self, data: Path, seed: int) -> None:
        self._random = Random(seed)
        self._server = ServerProcess(data)
        self.clients = Clients(Random(seed + 1), lambda: self._server.port)

    async def run(self, kills: int) -> Report:
        """Work and kill, then drain and judge."""
        clients = self.clients
        try:
            await self._start()
            await clients.prepare()
            async with asyncio.TaskGroup() as group:
                clients.start(group)
                for _ in range(kills):
                    await self._live_and_die()
                await asyncio.sleep(self._life())
                clients.stopping = True
            async with clients.connect() as client:
                clients.history.found = await _drain(client)
        finally:
            await asyncio.to_thread(self._server.kill)
        return judge(clients.history)

    def _life(self) -> float:
        return self._random.uniform(SHORTEST_LIFE, LONGEST_LIFE)

    async def _start(self) -> None:
        await asyncio.to_thread(self._server.start)
        self.clients.up.set()

    async def _live_and_die(self) -> None:
        await asyncio.sleep(self._life())
        self.clients.up.clear()
        await asyncio.to_thread(self._server.kill)
        if self._random.random() < KILLED_AT_START:
            self._server.launch()
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
            await asyncio.to_thread(self._server.kill)
        await self._start()


async def _drain(client: PlainClient) -> list[Found]:
    """Walk through everything that is left, delete it, and see that nothing is left."""
    everything = []
    for queue in QUEUES:
        found = await _walk(client, queue)
        everything += found
        for start in range(0, len(found), MAX_PAGE):
            ids = ",".join(one.id for one in found[start : start + MAX_PAGE])
            answer = await client.ask("DELETE", f"/v2/queues/{queue}/messages?ids={ids}")
            assert answer.status == 204, answer
        stats = await client.ask("GET", f"/v2/queues/{queue}/stats")
        left = msgspec.json.decode(stats.body)["messages"]["total"]
        assert left == 0, f"{left} left in {queue} after all were deleted"
    return everything


async def _walk(client: PlainClient, queue: str) -> list[Found]:
    """Every message of a queue, claimed and delayed ones too, by following the links."""
    found: list[Found] = []
    target = (
        f"/v2/queues/{queue}/messages?limit={MAX_PAGE}"
        "&echo=true&include_claimed=true&include_delayed=true"
    )
    while True:
        answer = await client.ask("GET", target)
        assert answer.status == 200, answer
        messages = messages_of(answer)
        if not messages:
            return found
        found += [Found(queue=queue, id=one, body=body) for one, body in messages]
        target = msgspec.json.decode(answer.body)["links"][0]["href"]


async def kill_and_judge(data: Path, *, kills: int, seed: int) -> Outcome:
    """The whole run on ``data``, which should be empty."""
    harness = Harness(data, seed)
    began = time.monotonic()
    report = await harness.run(kills)
    return Outcome(
        report=report,
        kills=kills,
        requests=harness.clients.requests,
        seconds=time.monotonic() - began,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the server while clients work.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    with tempfile.TemporaryDirectory() as data:
        outcome = asyncio.run(kill_and_judge(Path(data), kills=chosen.kills, seed=chosen.seed))
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
