"""Takes jobs, does them, and says so.

    python worker.py

Run as many as you like. What one of them was working on when it died comes back by itself.
"""

import asyncio
import os
import signal
from collections.abc import Callable

from nuska.client import DEFAULT_URL, ClaimedMessage, Client, Worker

PROJECT = "factory"
JOBS, FINISHED = "jobs", "finished"
AT_ONCE = 4
"""Jobs of one worker at a time."""


def factors(number: int) -> list[int]:
    """The job: the primes whose product ``number`` is."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return found + [number] * (number > 1)


async def work(url: str, name: str, started: Callable[[Worker], None]) -> None:
    """Work until told to stop."""
    async with Client(url, project=PROJECT, transport="websocket") as client:
        finished = client.queue(FINISHED)

        async def handle(message: ClaimedMessage) -> None:
            number = message.body["number"]
            result = await asyncio.to_thread(factors, number)
            # First tell, then delete the job, which the worker does when this returns. Should it
            # die in between, the job is done again, and told again: with the same key, only once.
            answer = {"job": message.id, "number": number, "factors": result}
            await finished.post(answer, ttl=600, key=message.id)

        worker = Worker(client.queue(JOBS), handle, jobs=AT_ONCE, ttl=60)
        started(worker)
        report = await worker.run()
    print(f"{name}: {report.done} done, {report.failed} failed", flush=True)


def stopped_by_signals(worker: Worker) -> None:
    """The first signal lets the work in hand finish."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)


if __name__ == "__main__":
    address = os.environ.get("NUSKA_URL", DEFAULT_URL)
    asyncio.run(work(address, f"worker {os.getpid()}", stopped_by_signals))
