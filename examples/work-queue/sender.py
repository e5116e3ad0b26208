"""Hands out jobs, and hears of each as soon as it is finished.

python sender.py 100
"""

import asyncio
import os
import sys

from worker import FINISHED, JOBS, PROJECT

from nuska.client import DEFAULT_URL, Client, NewMessage

JOB_TTL = 3600
"""Seconds; who has not got a job done by then does not want it any more."""


async def send(url: str, count: int) -> None:
    """Have ``count`` numbers factorised."""
    # It listens before it sends: nothing that is finished early is missed.
    async with Client(url, project=PROJECT) as client, client.subscribe(FINISHED) as results:
        jobs = (
            NewMessage(body={"number": 10**10 + number}, ttl=JOB_TTL) for number in range(count)
        )
        waiting = set()
        async for ids in client.queue(JOBS).post_in_batches(jobs):
            waiting.update(ids)
        while waiting:
            result = (await anext(results)).body
            if result["job"] in waiting:  # it may be another sender's
                waiting.remove(result["job"])
                product = " × ".join(map(str, result["factors"]))
                print(f"{result['job']}: {result['number']} = {product}", flush=True)


if __name__ == "__main__":
    address = os.environ.get("NUSKA_URL", DEFAULT_URL)
    asyncio.run(send(address, int(sys.argv[1]) if len(sys.argv) > 1 else 20))
